"""Server of the audit log: `python -m mlplatform.audit_log.server`.

It receives lines of the door, entries and searches over HTTP. DOOR_KEY is the key with which callers prove themselves.
AUDIT_FOLDER has the entries; AUDIT_DAYS is the age at which they are deleted.
"""

from __future__ import annotations

import hmac
import json
import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from mlplatform.audit_log.audit_store import FILE, AuditSearch, AuditStore, parsed_entry
from mlplatform.audit_log.door_lines import door_line

LONGEST_BODY = 1 << 20
HOUR = 3600


class _AuditHandler(BaseHTTPRequestHandler):
    """Answers to searches, and receiver of the door's lines and of the entries of commands."""

    store: AuditStore
    key: str
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer a search, or that the server runs."""
        address = urlsplit(self.path)
        if address.path == "/health":
            self._answer(200, {})
        elif self._is_allowed():
            values = dict(parse_qsl(address.query))
            try:
                since, limit = float(values.get("since", 0)), min(int(values.get("limit", 200)), 10_000)
            except ValueError as error:
                self._answer(400, {"error": f"since and limit have to be numbers: {error}"})
                return
            search = AuditSearch(values.get("user", ""), since, values.get("contains", ""), limit)
            self._answer(200, {"entries": self.store.search(search)})

    def do_POST(self) -> None:
        """Add those lines or entries that are not in the file yet."""
        if not self._is_allowed():
            return
        length = int(self.headers.get("Content-Length", 0))
        if length > LONGEST_BODY:
            self.close_connection = True
            self._answer(413, {"error": f"the body has {length} bytes, at most {LONGEST_BODY} are allowed"})
            return
        body = self.rfile.read(length)
        if self.path == "/lines":
            # nginx ends its lines so. A path may have the other characters at which `splitlines` begins a line.
            lines = (door_line(text) for text in body.decode(errors="replace").split("\n"))
            self.store.add_lines(line for line in lines if line)
            self._answer(200, {})
            return
        try:
            content = json.loads(body)
            entries = [parsed_entry(each) for each in content["entries"]]
        except (ValueError, TypeError, KeyError) as error:
            self._answer(400, {"error": f"the body has to be a JSON object with entries: {error}"})
            return
        self.store.add_once(entries)
        self._answer(200, {})

    def log_message(self, *_: Any) -> None:
        """Log nothing."""

    def _is_allowed(self) -> bool:
        if hmac.compare_digest(self.headers.get("X-Door-Key", "").encode(), self.key.encode()):
            return True
        self.close_connection = True
        self._answer(403, {"error": "only the door and administrators of the stack may read the audit log"})
        return False

    def _answer(self, status: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _forget_forever(store: AuditStore, days: int) -> None:
    """Delete old entries once an hour."""
    while True:
        store.forget(days)
        time.sleep(HOUR)


def main() -> None:
    """Serve until SIGTERM; the arguments are the host and the port."""
    host, port = sys.argv[1], int(sys.argv[2])
    store = AuditStore(Path(os.environ["AUDIT_FOLDER"]) / FILE)
    _AuditHandler.store, _AuditHandler.key = store, os.environ["DOOR_KEY"]
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    threading.Thread(target=_forget_forever, args=(store, int(os.environ["AUDIT_DAYS"])), daemon=True).start()
    ThreadingHTTPServer((host, port), _AuditHandler).serve_forever()


if __name__ == "__main__":
    main()
