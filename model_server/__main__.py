"""The commands of the model server.

`python -m model_server` serves: it reads the settings, checks the ports, and runs the workers under granian.
`python -m model_server check DIR` checks whether the model in a folder can be served.
"""

from __future__ import annotations

import os
import resource
import socket
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from granian import Granian
from granian.constants import HTTPModes, Interfaces
from granian.log import LogLevels

from model_server.errors import ModelRefused, RepositoryError
from model_server.metrics_folder import metrics_folder
from model_server.model.model_package import read_package
from model_server.redaction import redact
from model_server.settings import ServerSettings, ServerSettingsError, variable
from model_server.trial import try_model

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

SPARE_THREADS = 64
"""Python threads of a worker beside those that read bodies; granian starts threads only on demand."""
CONNECTIONS = 10_000
"""Connections of a worker, most of them idle. With granian's default 512, idle clients would block others for 30 s."""
OTHER_FILES = 200
"""Open files of a worker beside its connections."""
STOP_SECONDS = 2


def main(arguments: Sequence[str]) -> int:
    """Run the command and return the exit code: 2 for invalid arguments or settings."""
    try:
        settings = ServerSettings.from_environment(os.environ)
    except ServerSettingsError as error:
        return _fail(2, str(error))
    match arguments:
        case []:
            return _serve(settings)
        case ["check", folder]:
            return _check(Path(folder), settings)
    return _fail(2, "unknown arguments; run it without arguments to serve, or with: check DIR")


def _check(folder: Path, settings: ServerSettings) -> int:
    """Load the model of a folder in a child process; return 1 and print the reason if it cannot be served."""
    try:
        package = read_package(folder, settings.version, {})
        try_model(package, settings)
    except (ModelRefused, RepositoryError) as error:
        detail = f" ({redact(error.detail)})" if error.detail else ""
        return _fail(1, f"the model in {folder} cannot be served: {error}{detail}")
    except OSError as error:
        return _fail(1, f"the model in {folder} cannot be served: {error}")
    print(f"the model {package.signature.model} in {folder} can be served, SHA-256 {package.signature.sha256}")
    return 0


def _serve(settings: ServerSettings) -> int:
    """Serve until SIGTERM or SIGINT; return 1 if a port or a folder is unavailable."""
    host = str(settings.host)
    try:
        _require_free_port(host, settings.port, "port")
        for setting in ("health_port", "grpc_port"):
            if port := getattr(settings, setting):
                _require_free_port(host, port, setting)
        if settings.cache:
            settings.cache.mkdir(parents=True, exist_ok=True)
        with metrics_folder(settings.cache) as folder:
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
            # The import must follow the line above. Forked workers share the imported modules.
            worker = import_module("model_server.http.worker")
            print(f"listening on {host} port {settings.port} with {settings.workers} workers", flush=True)
            _run_workers(settings, partial(worker.load_application, settings))
    except OSError as error:
        return _fail(1, str(error))
    return 0


def _run_workers(settings: ServerSettings, load: Callable[[], WSGIApplication]) -> None:
    server = Granian(
        "model_server",
        address=str(settings.host),
        port=settings.port,
        interface=Interfaces.WSGI,
        http=HTTPModes.http1,
        websockets=False,
        workers=settings.workers,
        blocking_threads=settings.max_bodies + SPARE_THREADS,
        backpressure=_connection_limit(),
        respawn_failed_workers=True,
        workers_kill_timeout=STOP_SECONDS,
        # granian warns about more threads than cores, but most of these threads only wait for bytes.
        log_level=LogLevels.error,
    )
    server.serve(target_loader=load, wrap_loader=False)


def _connection_limit() -> int:
    """Return the connections of a worker: without free descriptors, it would retry to accept in a busy loop."""
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)  # granian raises the soft limit to the hard one
    return CONNECTIONS if files == resource.RLIM_INFINITY else max(1, min(CONNECTIONS, files - OTHER_FILES))


def _require_free_port(host: str, port: int, setting: str) -> None:
    """Raise OSError if the port is in use: granian sets SO_REUSEPORT, so two servers would silently share it."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        # As servers do: a connection in TIME_WAIT does not occupy the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            variables = f"{variable('host')}, {variable(setting)}"
            raise OSError(f"cannot listen on {host} port {port} ({variables}): {error.strerror}") from None


def _fail(code: int, message: str) -> int:
    print(f"model_server: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
