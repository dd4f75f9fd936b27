"""An MLflow server, and runs of compiled pipelines in the runner that the platform uses."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from kfp.compiler import Compiler
from mlplatform.mlflow import DISABLED_FEATURES
from mlplatform.mlflow_pod import SERVER, TEAMS, auth_configuration, team_variables
from mlplatform.mlflow_server.users import PASSWORDS

import workloads.ml  # noqa: F401  before the libraries whose usage reports it disables
from workloads import pipelines

IRIS = Path(pipelines.__file__).parents[1] / "data" / "iris.csv"
SERVER_SECONDS = 300
USERS_PASSWORD = "a-password-of-all-users"


@dataclass(frozen=True)
class Run:
    """A finished run: `result` is its result file, `log` the output of the runner."""

    folder: Path
    code: int
    result: dict[str, Any]
    log: str

    @property
    def outputs(self) -> dict[str, Any]:
        return dict(self.result["outputs"])

    def artifact(self, step: str, name: str) -> dict[str, Any]:
        steps = {s["name"]: s for s in self.result["steps"]}
        return dict(next(a for a in steps[step]["artifacts"] if a["name"] == name))


def prepare_run(folder: Path, pipeline: Any, arguments: dict[str, Any]) -> list[str]:
    """Create the run folder of a pipeline. Returns the command that runs it."""
    folder.mkdir()
    Compiler().compile(pipeline, str(folder / "package.yaml"))
    (folder / "arguments.json").write_text(json.dumps(arguments))
    return [sys.executable, "-m", "workloads.engines.kfp_runner", str(folder)]


def run(folder: Path, pipeline: Any, **arguments: Any) -> Run:
    """Run a pipeline, given by name or as object, and return the finished run."""
    loaded = pipelines.load_pipeline(pipeline) if isinstance(pipeline, str) else pipeline
    command = prepare_run(folder, loaded, arguments)
    completed = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    return Run(folder, completed.returncode, json.loads((folder / "result.json").read_text()), completed.stdout)


@pytest.fixture(scope="session")
def mlflow_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run an empty MLflow server until the end of the tests and yield its address."""
    with mlflow_server(tmp_path_factory.mktemp("mlflow")) as url:
        yield url


@pytest.fixture(scope="session")
def protected_mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run an MLflow server with the users of a cluster, all with the password USERS_PASSWORD; yield its address."""
    with mlflow_server(tmp_path_factory.mktemp("protected"), USERS_PASSWORD, users=True) as url:
        yield url


@contextmanager
def mlflow_server(
    folder: Path, password: str = "", users: bool = False, teams: Mapping[str, Any] | None = None
) -> Iterator[str]:
    """Run an empty MLflow server with its files in `folder` and yield its address.

    With a password, the server requires a login; its user is admin, or with `users` those of a cluster, and `teams`
    own what `mlplatform.team_rights` lists.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = folder / "server.log"
    command = [sys.executable, *SERVER, "--host", "127.0.0.1", "--port", str(port)]
    environment = (
        os.environ
        | DISABLED_FEATURES
        | {
            "MLFLOW_BACKEND_STORE_URI": f"sqlite:///{folder}/mlflow.db",
            "MLFLOW_ARTIFACTS_DESTINATION": f"{folder}/artifacts",
        }
    )
    if password:
        prepare = [sys.executable, "-m", "mlplatform.mlflow_server.prepare"] if users else []
        command = [*prepare, *command, "--app-name", "basic-auth"]
        configuration = auth_configuration(teams=bool(teams))
        (folder / "auth.ini").write_text(configuration.replace("/data/", f"{folder}/"))
        if teams:
            (folder / TEAMS).write_text(json.dumps(teams))
            environment |= team_variables(str(folder))
        environment |= {
            "MLFLOW_AUTH_CONFIG_PATH": str(folder / "auth.ini"),
            **dict.fromkeys(PASSWORDS.values(), password),
            "MLFLOW_FLASK_SERVER_SECRET_KEY": password,
        }
    with log.open("wb") as out:
        server = subprocess.Popen(command, env=environment, cwd=folder, stdout=out, stderr=out, start_new_session=True)
    try:
        deadline = time.monotonic() + SERVER_SECONDS
        # Wait for the log line: a response at the port could come from another server.
        while "Uvicorn running on" not in log.read_text():
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
