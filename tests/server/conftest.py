"""A trained forest, a server that serves it, and a client of MLflow, shared by all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.local.free_ports import free_port
from tests.server.registry import Registry
from tests.server.running import Server, running
from tests.server.training import Trained, train_iris
from tests.server.typed_models import train_class, train_price

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
def homes_model(folder: Path) -> Path:
    return train_class(folder / "homes")


@pytest.fixture(scope="session")
def homes(folder: Path, homes_model: Path) -> Iterator[Server]:
    """Start a server of a classification with a column of each type."""
    with running(folder / "homes.log", DIRECTORY=homes_model, VERSION="7", WORKERS=1) as started:
        yield started


@pytest.fixture(scope="session")
def prices_grpc() -> int:
    """Return the port for gRPC of `prices`."""
    return free_port()


@pytest.fixture(scope="session")
def prices(folder: Path, prices_grpc: int) -> Iterator[Server]:
    """Start a server of a regression with two targets."""
    both = train_price(folder / "prices", targets=2)
    with running(folder / "prices.log", DIRECTORY=both, VERSION="7", WORKERS=1, GRPC_PORT=prices_grpc) as started:
        yield started


@pytest.fixture(scope="session")
def empty(folder: Path) -> Iterator[Server]:
    """Start a server without a model."""
    with running(folder / "empty.log", WORKERS=1) as started:
        yield started


@pytest.fixture(scope="session")
def registry(mlflow_url: str) -> Registry:
    from mlflow import MlflowClient  # takes seconds, so only tests with a registry import it

    return Registry(mlflow_url, MlflowClient(mlflow_url))
