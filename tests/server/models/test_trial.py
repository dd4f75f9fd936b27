"""Trials of models in a child process, and the command `check`."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from model_server import trial
from model_server.errors import ModelRefused, TrialUnfinished
from model_server.model.model_package import read_package
from model_server.settings import ServerSettings
from model_server.trial import ModelTrial
from tests.server.running import environment
from tests.server.training import Trained, make_endless, make_hungry


def check(folder: Path, **settings: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "model_server", "check", str(folder)]
    return subprocess.run(command, env=environment(**settings), capture_output=True, text=True, timeout=120)


@pytest.fixture
def model(iris: Trained, tmp_path: Path) -> Path:
    return shutil.copytree(iris.folder, tmp_path / "model")


def test_check_valid_model_exits_0(model: Path, iris: Trained) -> None:
    ended = check(model)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert f"can be served, SHA-256 {iris.sha256}" in ended.stdout


def other_bytes(model: Path) -> None:
    (model / "model.onnx").write_bytes(b"not a model")


def no_signature(model: Path) -> None:
    (model / "signature.json").unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (other_bytes, "signature.json has"),
        (no_signature, "No such file or directory"),
        (make_endless, "longer than 3 s (MODEL_SERVER_CHECK_SECONDS)"),
        (make_hungry, "more than 1024 MiB of memory (MODEL_SERVER_CHECK_MEMORY_BYTES)"),
    ],
)
def test_check_unusable_model_exits_1_with_one_sentence(
    model: Path, damage: Callable[[Path], None], message: str
) -> None:
    damage(model)
    started = time.monotonic()
    # No limit is too short for a model that never answers.
    ended = check(model, CHECK_SECONDS=3 if damage is make_endless else 15)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert message in ended.stderr
    assert ended.stderr.startswith(f"model_server: the model in {model} cannot be served: ")
    assert len(ended.stderr.splitlines()) == 1
    assert time.monotonic() - started < 60


def test_unknown_arguments_exit_2() -> None:
    command = [sys.executable, "-m", "model_server", "verify"]
    ended = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2
    assert "check DIR" in ended.stderr


def test_require_accepted_same_model_twice_tries_it_once(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def refuse(package: object, settings: object) -> None:
        tried.append(package)
        raise ModelRefused("too large")

    monkeypatch.setattr(trial, "try_model", refuse)
    package = read_package(model, None, {})
    for _ in range(2):
        with pytest.raises(ModelRefused, match=r"^too large$"):
            ModelTrial(ServerSettings.from_environment({}), tmp_path).require_accepted(package)
    assert tried == [package]


def test_trial_that_ended_early_is_repeated_after_growing_pauses(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, started = [100.0], []

    def end_early(package: object, settings: object) -> None:
        started.append(now[0])
        raise TrialUnfinished("ended with SIGKILL")

    monkeypatch.setattr(trial, "monotonic", lambda: now[0])
    monkeypatch.setattr(trial, "try_model", end_early)
    package = read_package(model, None, {})
    workers = [ModelTrial(ServerSettings.from_environment({}), tmp_path) for _ in range(2)]
    for _ in range(12):
        for worker in workers:
            with pytest.raises(TrialUnfinished, match="ended with SIGKILL; trial ") as raised:
                worker.require_accepted(package)
        now[0] += raised.value.pause
    pauses = [later - earlier for earlier, later in itertools.pairwise(started)]
    assert pauses == [10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600]
    monkeypatch.setattr(trial, "try_model", lambda package, settings: None)
    for worker in workers:
        worker.require_accepted(package)


def test_result_that_a_full_disk_cut_off_accepts_no_model(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(package: object, settings: object) -> None:
        raise ModelRefused("too large")

    def write_nothing(file: Path, text: str) -> int:
        file.open("w").close()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(trial, "try_model", refuse)
    package, trials = read_package(model, None, {}), ModelTrial(ServerSettings.from_environment({}), tmp_path)
    with monkeypatch.context() as full:
        full.setattr(Path, "write_text", write_nothing)
        with pytest.raises(OSError, match="No space left"):
            trials.require_accepted(package)
    with pytest.raises(ModelRefused, match=r"^too large$"):
        trials.require_accepted(package)


def test_try_model_failing_child_raises_oserror(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(OSError, match="the trial process failed"):
        trial.try_model(read_package(model, None, {}), ServerSettings.from_environment({}))
