"""Operations on resources, and their cancellation by the user or a timeout."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from airgap.stand_ins.command.resource_command.engine import ResourceLog
from airgap.stand_ins.command.resource_command.errors import OperationCancelled


class Operation:
    """A running operation on a resource. All methods are thread-safe."""

    def __init__(self, log: ResourceLog) -> None:
        self.log = log
        self.reason = ""
        """The reason of the cancellation; empty until then."""
        self._stopped = threading.Event()
        self._callbacks: list[Callable[[], None]] = []
        self._lock = threading.RLock()

    def cancel(self, reason: str) -> None:
        """Cancel the operation; `reason` becomes its error."""
        with self._lock:
            if self.reason:
                return
            self.reason = reason
            self._stopped.set()
            for callback in reversed(self._callbacks):
                callback()

    def check(self) -> None:
        """Raise OperationCancelled if the operation is cancelled."""
        if self.reason:
            raise OperationCancelled(self.reason)

    def sleep(self, seconds: float) -> None:
        """Sleep, and raise OperationCancelled as soon as the operation is cancelled."""
        self._stopped.wait(seconds)
        self.check()

    @contextmanager
    def on_cancel(self, callback: Callable[[], None]) -> Iterator[None]:
        """Call `callback` when the operation is cancelled within the block; inner blocks come first."""
        with self._lock:
            self._callbacks.append(callback)
            if self.reason:
                callback()
        try:
            yield
        finally:
            with self._lock:
                self._callbacks.remove(callback)


class Operations:
    """All running operations."""

    def __init__(self) -> None:
        self._running: set[Operation] = set()
        self._cancelled = False
        self._lock = threading.Lock()

    @contextmanager
    def run(self, log: ResourceLog, timeout: float = 0) -> Iterator[Operation]:
        """Yield an operation that is cancelled after `timeout` seconds; 0 means no timeout."""
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
        """Cancel all running operations, and every operation that starts later."""
        with self._lock:
            self._cancelled = True
            running = list(self._running)
        for operation in running:
            operation.cancel("cancelled")
