"""Sessions with MLflow servers, and a server that fails."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, ClassVar, cast

import pytest
from mlplatform.tracking_access import TrackingAccess

from infra.errors import UserError
from infra.local.free_ports import free_port
from settings.paths import PROJECT
from tests.stand_ins import Answering, answering
from workloads.engines.base import Engine, RunRequest, RunResult, RunState
from workloads.ml import tracking
from workloads.mlflow_session import mlflow_session
from workloads.runs.recorded_run import run_and_record


class Registry(Answering):
    """MLflow server that records the credentials of each request."""

    logins: ClassVar[list[str | None]] = []

    def do_GET(self) -> None:
        header = self.headers.get("Authorization")
        type(self).logins.append(header and base64.b64decode(header.removeprefix("Basic ")).decode())
        self.answer(200, {"experiment": {"experiment_id": "1", "name": "a", "lifecycle_stage": "active"}})


@pytest.fixture
def urls() -> Iterator[tuple[str, str]]:
    Registry.logins = []
    with answering(Registry) as url, answering(Registry) as other_url:
        yield url, other_url


def test_mlflow_session_with_two_servers_sends_each_its_credentials_only(
    urls: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_AUTH", raising=False)
    url, other_url = urls
    environment = set(os.environ.values())
    with (
        mlflow_session(TrackingAccess(url, "admin", "word-one")) as reached,
        mlflow_session(TrackingAccess(other_url, "admin", "word-two")) as other_reached,
    ):
        for address in (reached, other_reached, reached):
            tracking.client(address).get_experiment("1")
        new_values = set(os.environ.values()) - environment
        assert [value for value in new_values if "word" in value] == []
    tracking.client(url).get_experiment("1")
    assert Registry.logins == ["admin:word-one", "admin:word-two", "admin:word-one", None]


SESSIONS_OF_TWO_THREADS = """
import sys, threading, time
from mlplatform.tracking_access import TrackingAccess
from workloads.engines.base import Engine, RunRequest, RunResult, RunState
from workloads.ml import tracking
from workloads.mlflow_session import mlflow_session
from workloads.runs.recorded_run import run_and_record

def session(delay):
    time.sleep(delay)
    with mlflow_session(TrackingAccess("http://127.0.0.1:1", "admin", "word")) as url:
        tracking.client(url)

threads = [threading.Thread(target=session, args=(delay,)) for delay in (0.0, float(sys.argv[1]))]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


@pytest.mark.parametrize("delay", [0.2, 0.4])
def test_mlflow_session_of_two_threads_imports_the_client_once(delay: float) -> None:
    """The threads of dynamic providers are the first ones of their process that import MLflow."""
    command = [sys.executable, "-c", SESSIONS_OF_TWO_THREADS, str(delay)]
    finished = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert (finished.returncode, finished.stderr) == (0, "")


def test_run_that_mlflow_does_not_record_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    result = RunResult(RunState.SUCCEEDED, {"accuracy": 0.9}, [], "/run.log")
    engine: Any = SimpleNamespace(run=lambda _request: result)
    request = RunRequest("iris", "iris-1", "iris-v1", {})
    port = free_port()
    with pytest.raises(UserError, match="MLflow did not record the run iris-1 of pipeline iris: API request to"):
        run_and_record(cast(Engine, engine), request, TrackingAccess(f"http://127.0.0.1:{port}"), {}, {})
