"""Finds out that a connection is dead, which TCP alone may not tell for hours."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import paramiko

INTERVAL = 15.0
PATIENCE = 30.0


@contextmanager
def watched(transport: paramiko.Transport, interval: float = INTERVAL, patience: float = PATIENCE) -> Iterator[None]:
    """Ask the other side every `interval` seconds; close the transport when an answer takes more than `patience`."""
    ended = threading.Event()
    threading.Thread(target=_watch, args=(transport, ended, interval, patience), daemon=True).start()
    try:
        yield
    finally:
        ended.set()


def _watch(transport: paramiko.Transport, ended: threading.Event, interval: float, patience: float) -> None:
    while not ended.wait(interval):
        answered = threading.Event()
        threading.Thread(target=_ask, args=(transport, answered), daemon=True).start()
        if not answered.wait(patience) and not ended.is_set():
            transport.close()
            return


def _ask(transport: paramiko.Transport, answered: threading.Event) -> None:
    # A request that no server knows: its refusal is the answer.
    with suppress(paramiko.SSHException, EOFError, OSError):
        transport.global_request("keepalive@openssh.com", wait=True)
        answered.set()
