"""An MLflow server with users, and runs of compiled pipelines in the runner that the platform uses."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from kfp.compiler import Compiler

import workloads.ml  # noqa: F401  before the libraries whose usage reports it disables
from tests.mlflow_servers import mlflow_server
from workloads import pipelines

IRIS = Path(pipelines.__file__).parents[1] / "data" / "iris.csv"
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
def protected_mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run an MLflow server with the users of a cluster, all with the password USERS_PASSWORD; yield its address."""
    with mlflow_server(tmp_path_factory.mktemp("protected"), USERS_PASSWORD, users=True) as url:
        yield url
