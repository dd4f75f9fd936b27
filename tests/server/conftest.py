"""One trained forest, one server that serves it and one MLflow server for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.registry import Registry, mlflow_server
from tests.server.running import Server, running
from tests.server.training import Trained, train_iris

MAX_ROWS = 200
MAX_BODY_BYTES = 100_000


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("server")


@pytest.fixture(scope="session")
def iris(folder: Path) -> Trained:
    return train_iris(folder / "iris")


@pytest.fixture(scope="session")
def server(folder: Path, iris: Trained) -> Iterator[Server]:
    settings = {"DIRECTORY": iris.folder, "VERSION": "7", "MAX_ROWS": MAX_ROWS, "MAX_BODY_BYTES": MAX_BODY_BYTES}
    with running(folder / "iris.log", **settings) as started:
        yield started


@pytest.fixture(scope="session")
def registry(folder: Path) -> Iterator[Registry]:
    with mlflow_server(folder / "mlflow") as started:
        yield started
