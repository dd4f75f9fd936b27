"""Reading and decompressing of request bodies, with limits of their size and of their number at a time."""

from __future__ import annotations

import threading
import zlib
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from model_server.errors import RequestError
from model_server.settings import ServerSettings

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

ENCODINGS = ("gzip", "deflate")
GZIP_OR_ZLIB = zlib.MAX_WBITS | 32
"""Argument of zlib to detect either format."""
WAIT_SECONDS = 3
"""Seconds that a request waits until fewer bodies are being read."""


class BodyReader:
    """Reader of request bodies of one worker.

    Each body that is being read blocks a thread, so at most `max_bodies` are read at a time. Further requests wait
    until a body is complete, or until `crowded` makes `idle_connections` close the slowest connections.

    Attributes:
        crowded: set while a request waits.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self._max_bytes = settings.max_body_bytes
        self._turns: SimpleQueue[None] = SimpleQueue()
        for _ in range(settings.max_bodies):
            self._turns.put(None)
        self._waiting = 0
        self._lock = threading.Lock()
        self.crowded = threading.Event()

    def read(self, environ: WSGIEnvironment) -> bytes:
        """Return the body of a request.

        Raises:
            RequestError: the body has too many bytes, with or without a Content-Length. Or the client closed the
                connection early. Or too many other bodies are being read.
        """
        content_length = environ.get("CONTENT_LENGTH")
        length = int(content_length) if content_length and content_length.isdecimal() else None
        if (length or 0) > self._max_bytes:
            raise self._too_large()
        try:
            self._turns.get_nowait()
        except Empty:
            self._wait_for_turn()
        try:
            body: bytes = environ["wsgi.input"].read(self._max_bytes + 1)
        finally:
            self._turns.put(None)
        if len(body) > self._max_bytes:
            raise self._too_large()
        if length is not None and len(body) < length:
            raise RequestError(408, "incomplete_body", f"the body ended after {len(body)} of {length} bytes")
        encoding = environ.get("HTTP_CONTENT_ENCODING")
        return self._decompress(body, encoding.strip().lower()) if encoding else body

    def _wait_for_turn(self) -> None:
        """Take a turn as soon as fewer bodies are being read."""
        self._count_waiting(1)
        try:
            self._turns.get(timeout=WAIT_SECONDS)
        except Empty:
            raise RequestError(503, "too_many_bodies", "too many request bodies are being read; try again") from None
        finally:
            self._count_waiting(-1)

    def _count_waiting(self, change: int) -> None:
        with self._lock:
            self._waiting += change
            if self._waiting:
                self.crowded.set()
            else:
                self.crowded.clear()

    def _decompress(self, body: bytes, encoding: str) -> bytes:
        if encoding == "identity":
            return body
        if encoding not in ENCODINGS:
            message = f"the content encoding must be {' or '.join(ENCODINGS)}; it is {encoding[:100]}"
            raise RequestError(415, "unsupported_content_encoding", message)
        decompressor = zlib.decompressobj(GZIP_OR_ZLIB)
        try:
            content = decompressor.decompress(body, self._max_bytes + 1)
        except zlib.error:
            raise RequestError(400, "bad_content_encoding", f"the body is not valid {encoding}") from None
        if len(content) > self._max_bytes:
            raise self._too_large()
        if not decompressor.eof:
            raise RequestError(400, "bad_content_encoding", f"the body ends within its {encoding} data")
        return content

    def _too_large(self) -> RequestError:
        return RequestError(413, "body_too_large", f"the body is larger than {self._max_bytes} bytes")
