"""Sender of the door's log to the audit log: `python -m mlplatform.audit_log.line_sender URL`.

nginx writes lines to `current.log` in LINES_FOLDER. `serve.sh` renames a long file to `<seconds since 1970>.closed`,
and writes to `left_out.log` how many lines it deleted while the audit log was away. The sender reads on where it
stopped. It sends a line again if it does not know whether the line arrived: the audit log knows each line by its id.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from http.client import HTTPException
from pathlib import Path

CURRENT, LEFT_OUT_LINES = "current.log", "left_out.log"
ENDED = "ended"
"""File that `serve.sh` writes after the end of nginx."""
OFFSETS = "sent.json"
LONGEST_BODY = 1 << 18
"""Bytes in one request; a line is much shorter."""
SETTLED_SECONDS = 10
"""Age of a closed file to which no process of nginx writes any more."""
INTERVAL_SECONDS = 0.5
TIMEOUT_SECONDS = 30


class LineSender:
    """A folder with files of lines, and the number of bytes that were sent of each file, by its inode."""

    def __init__(self, folder: Path, post: Callable[[bytes], None]) -> None:
        self._folder, self._post = folder, post
        state = folder / OFFSETS
        self._offsets: dict[str, int] = json.loads(state.read_text()) if state.is_file() else {}

    def send(self) -> None:
        """Send the lines that are new, the oldest first, and delete the closed files that were sent.

        Raises:
            OSError, HTTPException: the audit log does not take the lines.
        """
        for file in (*sorted(self._folder.glob("*.closed")), self._folder / CURRENT, self._folder / LEFT_OUT_LINES):
            if file.exists():
                self._send_file(file)

    def _send_file(self, file: Path) -> None:
        inode = str(file.stat().st_ino)
        for lines in _whole_lines(file, self._offsets.get(inode, 0)):
            self._post(lines)
            self._keep(self._offsets | {inode: self._offsets.get(inode, 0) + len(lines)})
        if file.suffix == ".closed" and time.time() - int(file.stem) > SETTLED_SECONDS:
            file.unlink()
            self._keep({known: sent for known, sent in self._offsets.items() if known != inode})

    def _keep(self, offsets: dict[str, int]) -> None:
        self._offsets = offsets
        new = self._folder / f"{OFFSETS}.new"
        new.write_text(json.dumps(offsets))
        new.replace(self._folder / OFFSETS)


def _whole_lines(file: Path, offset: int) -> Iterator[bytes]:
    """Yield blocks of whole lines after an offset."""
    with file.open("rb") as lines:
        while True:
            lines.seek(offset)
            block = lines.read(LONGEST_BODY)
            whole = block[: block.rfind(b"\n") + 1]
            if not whole:
                return
            yield whole
            offset += len(whole)


def _post_to(url: str, key: str) -> Callable[[bytes], None]:
    def post(lines: bytes) -> None:
        request = urllib.request.Request(f"{url}/lines", lines, {"X-Door-Key": key})
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:
            answer.read()

    return post


def main() -> None:
    """Send until SIGTERM, and then the lines that nginx writes until its end."""
    folder = Path(os.environ["LINES_FOLDER"])
    sender = LineSender(folder, _post_to(sys.argv[1], os.environ["DOOR_KEY"]))
    stopping: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stopping.append(number))
    fault = ""
    while True:
        last = bool(stopping) and (folder / ENDED).exists()
        try:
            sender.send()
            fault = ""
        except (OSError, HTTPException) as error:
            if fault != str(error):
                fault = str(error)
                print(f"the audit log does not take the lines of the door, which wait: {fault}", file=sys.stderr)
        if last and not fault:
            return
        time.sleep(INTERVAL_SECONDS)


if __name__ == "__main__":
    main()
