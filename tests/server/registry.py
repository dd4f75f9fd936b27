"""A real MLflow server with models registered in it, as the pipelines do it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests
from mlflow import MlflowClient

from tests.server.running import HOST, free_port, wait_until


@dataclass(frozen=True)
class Registry:
    """An MLflow server and a client of it."""

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
def mlflow_server(folder: Path) -> Iterator[Registry]:
    folder.mkdir()
    url = f"http://{HOST}:{(port := free_port())}"
    options = {
        "--host": HOST,
        "--port": str(port),
        "--workers": "1",
        "--backend-store-uri": f"sqlite:///{folder}/mlflow.db",
        "--artifacts-destination": str(folder / "artifacts"),
    }
    command = [sys.executable, "-m", "mlflow", "server", *(word for pair in options.items() for word in pair)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command,
            env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_until(lambda: _healthy(url), f"MLflow did not start; see {folder}/log", 90)
        yield Registry(url, MlflowClient(url))
    finally:
        os.killpg(process.pid, 15)
        process.wait(20)


def _healthy(url: str) -> bool:
    try:
        return requests.get(f"{url}/health", timeout=5).ok
    except requests.ConnectionError:
        return False
