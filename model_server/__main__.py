"""Starts the server: reads the settings, makes sure of the port, and runs the workers under granian."""

from __future__ import annotations

import os
import resource
import socket
import sys
import tempfile
from functools import partial
from importlib import import_module

from granian import Granian
from granian.constants import HTTPModes, Interfaces
from granian.log import LogLevels

from model_server.http.worker import load
from model_server.settings import Settings, SettingsError

THREADS = 32
"""Python threads of a worker: one is busy for as long as a slow client takes to send its body."""
CONNECTIONS = 10_000
"""That a worker holds, most of them idle; of granian's own 512, an idle one more would keep everybody out for 30 s."""
OTHER_FILES = 200
"""That it has open beside them."""
STOP_SECONDS = 2


def main() -> int:
    """Serve until SIGTERM or SIGINT; 2 is returned for wrong settings, 1 for a port or folder not to be had."""
    try:
        settings = Settings.from_environment(os.environ)
    except SettingsError as error:
        return _fail(2, str(error))
    host = str(settings.host)
    try:
        _require_free(host, settings.port)
        if settings.cache:
            settings.cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="model_server-metrics-", dir=settings.cache) as folder:
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
            # Workers that are forked share what is imported before them.
            import_module("model_server.http.app")
            print(f"listening on {host} port {settings.port} with {settings.workers} workers", flush=True)
            _serve(host, settings)
    except OSError as error:
        return _fail(1, str(error))
    return 0


def _serve(host: str, settings: Settings) -> None:
    server = Granian(
        "model_server",
        address=host,
        port=settings.port,
        interface=Interfaces.WSGI,
        http=HTTPModes.http1,
        websockets=False,
        workers=settings.workers,
        blocking_threads=THREADS,
        backpressure=_connections(),
        respawn_failed_workers=True,
        workers_kill_timeout=STOP_SECONDS,
        # granian warns of more threads than cores; here most of them only wait for bytes.
        log_level=LogLevels.error,
    )
    server.serve(target_loader=partial(load, settings), wrap_loader=False)


def _connections() -> int:
    """How many a worker may hold: one that may not open another file would try to all the time."""
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)  # granian takes all that it is allowed
    return CONNECTIONS if files == resource.RLIM_INFINITY else max(1, min(CONNECTIONS, files - OTHER_FILES))


def _require_free(host: str, port: int) -> None:
    """granian's workers share a port with SO_REUSEPORT, and so would two servers, without a word."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        # As servers do: a connection that is still closing does not hold the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            told = f"cannot listen on {host} port {port} (MODEL_SERVER_HOST, MODEL_SERVER_PORT): {error.strerror}"
            raise OSError(told) from None


def _fail(code: int, message: str) -> int:
    print(f"model_server: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
