"""A door in front of a real MLflow, as processes; the tests are skipped where nginx or oauth2-proxy is missing."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from settings.services.door_settings import DoorSettings
from tests.mlflow_servers import mlflow_server

from .processes import HOST, KEY, DoorProcesses, missing_program, running_door

MLFLOW_PASSWORD = "password1234"
"""Password of programs at MLflow."""


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    """Yield a folder that nginx's workers may read: pytest's own are closed to them."""
    if missing := missing_program():
        pytest.skip(f"the door is not tested: {missing}")
    path = Path(tempfile.mkdtemp())
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="session")
def mlflow_url(folder: Path) -> Iterator[str]:
    data = folder / "mlflow"
    data.mkdir(mode=0o700)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("MLFLOW_DOOR_KEY", KEY)
        with mlflow_server(data, MLFLOW_PASSWORD, users=True) as url:
            yield url


@pytest.fixture(scope="session")
def door(folder: Path, mlflow_url: str) -> Iterator[DoorProcesses]:
    files = folder / "door"
    files.mkdir()
    with running_door(files, DoorSettings(host=HOST, requests_per_second=20), mlflow_url) as running:
        yield running
