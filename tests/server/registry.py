"""A real MLflow server with models registered the way the pipelines register them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import requests

from tests.server.running import HOST

if TYPE_CHECKING:
    from mlflow import MlflowClient


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
