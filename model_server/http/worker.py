"""Worker process: the WSGI application with its models and its background threads.

Import this module only after PROMETHEUS_MULTIPROC_DIR is set: Prometheus' client reads it when it is imported.
"""

from __future__ import annotations

import gc
import logging
import multiprocessing
import os
import shutil
import signal
import threading
import time
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_server.catalog import ModelCatalog
from model_server.dataplane import DataPlane
from model_server.http.body import BodyReader
from model_server.http.fast_path import create_wsgi_app
from model_server.http.health_server import HealthServer
from model_server.http.idle_connections import ConnectionWatch
from model_server.http.routes import routes
from model_server.loader import ModelLoader, start_loaders
from model_server.model.agreement import load_champion
from model_server.settings import ServerSettings
from model_server.telemetry import Telemetry, create_files, forget_dead_workers
from model_server.trial import ModelTrial

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

FLUSH_SECONDS = 1
_servers: list[Any] = []
"""gRPC stops a server that nothing refers to."""
logger = logging.getLogger(__name__)


def load_application(settings: ServerSettings) -> WSGIApplication:
    """Return the application; granian calls this in each worker before it listens."""
    # Until granian installs its handlers here, SIGTERM must end this process: it inherited the parent's handlers.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    logging.basicConfig(level=logging.INFO, format="[%(levelname)s] worker %(process)d: %(message)s")
    threading.Thread(target=_exit_with_parent, name="parent", daemon=True).start()
    forget_dead_workers()
    create_files()
    telemetry = Telemetry(load_champion(settings))
    trial = ModelTrial(settings, Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]))
    models = [(each, ModelLoader(each, telemetry, trial)) for each in settings.of_each_model()]
    start_loaders([loader for _, loader in models])
    threading.Thread(target=_flush_forever, args=(telemetry,), name="telemetry", daemon=True).start()
    bodies = BodyReader(settings)
    watch = ConnectionWatch(settings, bodies.crowded)
    threading.Thread(target=watch.run, name="connections", daemon=True).start()
    catalog = ModelCatalog([DataPlane(each, loader, telemetry) for each, loader in models])
    table = routes(settings, catalog, telemetry)
    if settings.health_port:
        HealthServer(str(settings.host), settings.health_port, table).start()
    if settings.grpc_port:
        # gRPC must not be imported before the fork, and costs 20 MB where no setting requests it.
        grpc_server = import_module("model_server.rpc.grpc_server")
        _servers.append(grpc_server.start_grpc_server(settings, catalog, telemetry))
    app = create_wsgi_app(table, bodies, telemetry)
    # Without this, the garbage collector would scan all loaded modules and stall requests for tens of milliseconds.
    gc.freeze()
    return app


def _flush_forever(telemetry: Telemetry) -> None:
    while True:
        time.sleep(FLUSH_SECONDS)
        try:
            telemetry.flush()
        except Exception as error:  # if this thread ended, recorded requests would fill the memory
            logger.error("metrics are incomplete: %s", error)


def _exit_with_parent() -> None:
    """Exit when the parent is killed: a remaining worker would occupy the port and leave the metrics folder behind."""
    parent = multiprocessing.parent_process()
    assert parent
    parent.join()
    shutil.rmtree(os.environ["PROMETHEUS_MULTIPROC_DIR"], ignore_errors=True)
    os._exit(1)
