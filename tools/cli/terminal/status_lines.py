"""Lines below Pulumi's tree on a terminal: the pipeline steps that run.

Pulumi's tree cuts its rows at the width of the terminal, so that their ends are often invisible. The bottom lines of
the terminal are therefore outside its scrolling region, and the size of the terminal that Pulumi reads excludes them.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import tempfile
import termios
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from infra.resource_status import STATUS_VARIABLE

STANDARD_OUTPUT = 1
LINES = 4
LEAST_ROWS = 16
"""Height of a terminal that has space for the tree and for these lines."""
MAX_MESSAGE_BYTES = 1 << 16
SAVE_CURSOR, RESTORE_CURSOR = "\0337", "\0338"
WHOLE_REGION = "\033[r"


@contextmanager
def status_lines(terminal: int = STANDARD_OUTPUT) -> Iterator[Mapping[str, str]]:
    """Show status lines during the block; yield the environment variables for the program that has the terminal.

    Without a terminal of sufficient size, there are no lines and no variables.

    Args:
        terminal: the descriptor of the output.
    """
    if not os.isatty(terminal) or os.get_terminal_size(terminal).lines < LEAST_ROWS:
        yield {}
        return
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        address = str(Path(folder, "status"))
        server.bind(address)
        lines = _StatusLines(terminal)
        lines.reserve()
        before = signal.signal(signal.SIGWINCH, lambda *_: lines.reserve())
        receiver = threading.Thread(target=lines.receive, args=[server], daemon=True)
        receiver.start()
        try:
            yield {STATUS_VARIABLE: address}
        finally:
            signal.signal(signal.SIGWINCH, before)
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
                client.sendto(b"", address)
            receiver.join()
            lines.release()


class _StatusLines:
    """The bottom lines of a terminal, with the newest status lines of each resource."""

    def __init__(self, terminal: int) -> None:
        self._terminal = terminal
        self._rows = 0
        self._statuses: dict[str, list[str]] = {}

    def reserve(self) -> None:
        """Exclude the lines from the terminal that other programs see, also after a change of its size."""
        size = os.get_terminal_size(self._terminal)
        if size.lines in (self._rows - LINES, 0):
            return  # the size that this method has set
        self._rows = size.lines
        scroll = "\n" * LINES + f"\033[{LINES}A"  # the cursor may be in one of the lines
        self._write(f"{scroll}{SAVE_CURSOR}\033[1;{self._rows - LINES}r{RESTORE_CURSOR}")
        termios.tcsetwinsize(self._terminal, (self._rows - LINES, size.columns))

    def release(self) -> None:
        """Clear the lines and return them to other programs."""
        self._statuses.clear()
        self._draw()
        self._write(f"{SAVE_CURSOR}{WHOLE_REGION}{RESTORE_CURSOR}")
        termios.tcsetwinsize(self._terminal, (self._rows, os.get_terminal_size(self._terminal).columns))

    def receive(self, server: socket.socket) -> None:
        """Draw the lines at each message, until an empty one."""
        while message := server.recv(MAX_MESSAGE_BYTES):
            resource, lines = json.loads(message)
            self._statuses[resource] = lines
            self._draw()

    def _draw(self) -> None:
        running = [line for lines in self._statuses.values() for line in lines]
        shown = running if len(running) <= LINES else [*running[: LINES - 1], f"{len(running) - LINES + 1} more steps"]
        width = os.get_terminal_size(self._terminal).columns - 1
        drawn = [
            f"\033[{self._rows - LINES + 1 + number};1H\033[2K{line[:width]}"
            for number, line in enumerate([*shown, *[""] * (LINES - len(shown))])
        ]
        self._write("".join([SAVE_CURSOR, *drawn, RESTORE_CURSOR]))

    def _write(self, text: str) -> None:
        """Write in one call, which no output of other programs divides."""
        os.write(self._terminal, text.encode())
