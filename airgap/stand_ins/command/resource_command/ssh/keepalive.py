"""Detection of dead connections; TCP alone can take hours to report one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import paramiko

INTERVAL = 15.0
PROBE_TIMEOUT = 30.0


@contextmanager
def keep_alive(
    transport: paramiko.Transport, interval: float = INTERVAL, timeout: float = PROBE_TIMEOUT
) -> Iterator[None]:
    """Send a probe every `interval` seconds; close the transport when a reply takes more than `timeout` seconds."""
    stopping = threading.Event()
    threading.Thread(target=_watch, args=(transport, stopping, interval, timeout), daemon=True).start()
    try:
        yield
    finally:
        stopping.set()


def _watch(transport: paramiko.Transport, stopping: threading.Event, interval: float, timeout: float) -> None:
    while not stopping.wait(interval):
        replied = threading.Event()
        threading.Thread(target=_send_probe, args=(transport, replied), daemon=True).start()
        if not replied.wait(timeout) and not stopping.is_set():
            transport.close()
            return


def _send_probe(transport: paramiko.Transport, replied: threading.Event) -> None:
    # Servers do not know this request; the refusal is the reply.
    with suppress(paramiko.SSHException, EOFError, OSError):
        transport.global_request("keepalive@openssh.com", wait=True)
        replied.set()
