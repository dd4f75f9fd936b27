"""One operation of the engine on a resource: its log, and its end by the user or a timeout."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .engine import Log
from .errors import Cancelled


class Operation:
    """`log` writes to the engine's log of the resource. All methods can be called from any thread."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.reason = ""
        """Why it was ended; empty while it may go on."""
        self._ended = threading.Event()
        self._acts: list[Callable[[], None]] = []
        self._lock = threading.RLock()

    def cancel(self, reason: str) -> None:
        """End the operation; `reason` is its error."""
        with self._lock:
            if self.reason:
                return
            self.reason = reason
            self._ended.set()
            for act in reversed(self._acts):
                act()

    def check(self) -> None:
        """Raise `Cancelled` when the operation was ended."""
        if self.reason:
            raise Cancelled(self.reason)

    def sleep(self, seconds: float) -> None:
        """Wait, but raise `Cancelled` as soon as the operation is ended."""
        self._ended.wait(seconds)
        self.check()

    @contextmanager
    def on_cancel(self, act: Callable[[], None]) -> Iterator[None]:
        """Call `act` when the operation is ended within the block, before those of blocks around it; never after it."""
        with self._lock:
            self._acts.append(act)
            if self.reason:
                act()
        try:
            yield
        finally:
            with self._lock:
                self._acts.remove(act)


class Operations:
    """All operations that run."""

    def __init__(self) -> None:
        self._running: set[Operation] = set()
        self._cancelled = False
        self._lock = threading.Lock()

    @contextmanager
    def run(self, log: Log, timeout: float = 0) -> Iterator[Operation]:
        """An operation that is ended after `timeout` seconds, or never if that is 0."""
        operation = Operation(log)
        with self._lock:
            self._running.add(operation)
            if self._cancelled:
                operation.cancel("cancelled")
        timer = threading.Timer(timeout, operation.cancel, [f"timed out after {timeout:g} s"])
        timer.daemon = True
        if timeout:
            timer.start()
        try:
            yield operation
        finally:
            timer.cancel()
            with self._lock:
                self._running.discard(operation)

    def cancel(self) -> None:
        """End all that run, and all that are begun later."""
        with self._lock:
            self._cancelled = True
            running = list(self._running)
        for operation in running:
            operation.cancel("cancelled")
