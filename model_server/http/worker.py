"""One worker process: the application, its model, and its end.

The application is imported late: Prometheus' client looks for its folder, PROMETHEUS_MULTIPROC_DIR, when imported.
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
from typing import TYPE_CHECKING

from model_server.settings import Settings

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

    from model_server.loader import ModelLoader

COUNT_SECONDS = 1
logger = logging.getLogger(__name__)


def load(settings: Settings) -> WSGIApplication:
    """Called by granian in each worker, before it listens."""
    # Until granian has its own handlers here, SIGTERM is to end this process, not to tell a copy of the parent.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    from model_server import telemetry
    from model_server.dataplane import DataPlane
    from model_server.http import idle_connections
    from model_server.http.app import create_app
    from model_server.http.fast_path import fast_path, measured
    from model_server.loader import ModelLoader

    logging.basicConfig(level=logging.INFO, format="[%(levelname)s] worker %(process)d: %(message)s")
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    telemetry.forget_dead_workers()
    keeper = ModelLoader(settings)
    keeper.start()
    threading.Thread(target=_count, args=(keeper,), name="counting", daemon=True).start()
    threading.Thread(target=idle_connections.watch, args=(settings.port,), name="silence", daemon=True).start()
    plane = DataPlane(settings, keeper)
    app = fast_path(measured(create_app(settings, plane).wsgi_app), plane, settings.max_body_bytes)
    # What is there now stays: going through it again and again would stall requests for tens of milliseconds.
    gc.freeze()
    return app


def _count(keeper: ModelLoader) -> None:
    while True:
        time.sleep(COUNT_SECONDS)
        try:
            keeper.count()
        except Exception as error:  # with this thread gone, what is to be counted would fill the memory
            logger.error("requests are not counted: %s", error)


def _end_with_parent() -> None:
    """A worker whose parent was killed would hold the port for ever, and its metrics folder would stay."""
    parent = multiprocessing.parent_process()
    assert parent
    parent.join()
    shutil.rmtree(os.environ["PROMETHEUS_MULTIPROC_DIR"], ignore_errors=True)
    os._exit(1)
