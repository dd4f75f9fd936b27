"""A real MLflow server with models registered the way the pipelines register them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import requests

from tests.server.running import HOST, free_port, wait_until

if TYPE_CHECKING:
    from mlflow import MlflowClient

START_SECONDS = 120


@dataclass(frozen=True)
class Registry:
    """A running MLflow server and a client for it."""

    url: str
    client: MlflowClient

    def register(self, name: str, folder: Path, sha256: str) -> str:
        """Register the files of `folder` as the next version of the model, with the tag `sha256`."""
        if not self.client.search_registered_models(f"name = '{name}'"):
            self.client.create_registered_model(name)
        run = self.client.create_run("0")
        self.client.log_artifacts(run.info.run_id, str(folder), "model")
        source = f"{run.info.artifact_uri}/model"
        return str(self.client.create_model_version(name, source, run.info.run_id, tags={"sha256": sha256}).version)

    def champion(self, name: str, version: str) -> None:
        self.client.set_registered_model_alias(name, "champion", version)


@dataclass(frozen=True)
class Starting:
    """An MLflow server that may not respond yet."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path

    def ready(self) -> Registry:
        from mlflow import MlflowClient  # takes seconds, so only tests with a registry import it

        wait_until(self._healthy, f"MLflow did not start; see {self.log}", START_SECONDS)
        return Registry(self.url, MlflowClient(self.url))

    def _healthy(self) -> bool:
        try:
            return requests.get(f"{self.url}/health", timeout=5).ok
        except requests.RequestException:
            return False


@contextmanager
def starting_mlflow(folder: Path) -> Iterator[Starting]:
    """Start MLflow without waiting: other tests run meanwhile."""
    folder.mkdir()
    port = free_port()
    options = {
        "--host": HOST,
        "--port": str(port),
        "--workers": "1",
        "--backend-store-uri": f"sqlite:///{folder}/mlflow.db",
        "--artifacts-destination": str(folder / "artifacts"),
    }
    command = [sys.executable, "-m", "mlflow", "server", *(word for pair in options.items() for word in pair)]
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield Starting(process, f"http://{HOST}:{port}", log)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(20)


@contextmanager
def relay(port: int, url: str) -> Iterator[None]:
    """Forward GET requests at this port to the registry at `url`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            response = requests.get(url + self.path, timeout=10)
            self.send_response(response.status_code)
            self.end_headers()
            self.wfile.write(response.content)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer((HOST, port), Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        yield
        server.shutdown()
