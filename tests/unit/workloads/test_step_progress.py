"""Messages about the steps of a run, and the times that the next run expects."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.resource_status import STATUS_VARIABLE
from tests.waiting import until
from workloads.engines import step_progress
from workloads.engines.base import RunRequest
from workloads.engines.step_progress import StepProgress

RUN = RunRequest("iris", "iris-1", "1", {}, resource="urn:pulumi:dev::mlplatform::run::iris-run")
LOG = ["train:0: started", "train:0: loss 0.3", "train:0: SUCCEEDED in 200.04 s", "keep: SKIPPED"]


@pytest.fixture
def messages(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    logged: list[str] = []
    monkeypatch.setattr(step_progress, "log_status", lambda _, message: logged.append(message))
    monkeypatch.delenv(STATUS_VARIABLE, raising=False)
    return logged


@pytest.fixture
def terminal(messages: list[str], monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    shown: list[list[str]] = []
    monkeypatch.setattr(step_progress, "show_status_lines", lambda _, lines: shown.append(lines))
    monkeypatch.setattr(step_progress, "REFRESH_SECONDS", 0.01)
    return shown


def read_run(directory: Path, *lines: str) -> None:
    with StepProgress(RUN, directory) as progress:
        for line in lines:
            progress.read(line)


def test_progress_in_a_pipe_logs_start_and_end_of_each_step(messages: list[str], tmp_path: Path) -> None:
    read_run(tmp_path, *LOG)
    assert messages == [LOG[0], *LOG[2:]]


def test_progress_on_a_terminal_shows_elapsed_and_expected_time_of_each_step(
    messages: list[str], terminal: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_run(tmp_path, *LOG, "test: started", "test: FAILED in 3.1 s")
    monkeypatch.setenv(STATUS_VARIABLE, "a socket")
    del messages[:]
    with StepProgress(RUN, tmp_path) as progress:
        progress.read("train:7: started")
        train = "iris train:7: 0 s of about 3 min 20 s"
        until(lambda: terminal.count([train]) > 2, what="a refreshed line")
        progress.read("test: started")  # it failed, so that it has no expected time
        assert terminal[-1] == [train, "iris test: 0 s"]
        progress.read("train:7: SUCCEEDED in 2.0 s")
    assert terminal[-1] == []
    read_run(tmp_path, "train: started")
    assert terminal[-2] == ["iris train: 0 s of about 2 s"]
    assert messages == []


def test_progress_of_a_run_without_a_resource_shows_nothing(messages: list[str], tmp_path: Path) -> None:
    with StepProgress(RunRequest("iris", "iris-1", "1", {}), tmp_path) as progress:
        progress.read("train: started")
    assert messages == []
