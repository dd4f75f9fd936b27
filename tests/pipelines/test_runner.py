"""The runner: the process that runs one compiled pipeline on this computer."""

import asyncio
import io
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from kfp import dsl
from kfp.compiler import Compiler
from mlplatform.engine_config import EmbeddedEngineConfig

from tests.pipelines.conftest import Run, prepare_run, run
from tests.waiting import until
from workloads.components import component
from workloads.engines.base import RunRequest, StepState
from workloads.engines.dag import artifact_files
from workloads.engines.dag.loops import Loop, TaskResult
from workloads.engines.dag.run_log import RunLog
from workloads.engines.dag.step_runner import Outputs, StepRunner
from workloads.engines.kfp_runner import run_package
from workloads.engines.local_engine import EmbeddedEngine


@component
def number(value: int) -> int:
    print("\x1b[92mgreen\x1b[0m")
    return value


@component
def fail(value: int) -> int:
    raise ValueError(f"{value} is no good")


@component
def refuse(value: int) -> int:
    from workloads.ml.errors import StepError

    print("some noise first")
    raise StepError(f"value: {value}; at most 2")


@component
def end_silently(value: int) -> int:
    raise SystemExit(value)


@component
def succeed_at_second_try(mark: str) -> str:
    from pathlib import Path

    if not Path(mark).exists():
        Path(mark).touch()
        raise SystemExit("not yet")
    return "done"


@component
def wait_for_ever(mark: str) -> str:
    import os
    import time
    from pathlib import Path

    Path(mark).write_text(str(os.getpid()))
    time.sleep(600)
    return mark


@dsl.pipeline(name="three-numbers")
def three_numbers(value: int = 1) -> int:
    first = number(value=value)
    number(value=first.output)
    return number(value=first.output).output


@dsl.pipeline(name="fails-second")
def fails_second(value: int = 3) -> int:
    return fail(value=number(value=value).output).output


@dsl.pipeline(name="loops-twice")
def loops_twice(values: list) -> list:
    with dsl.ParallelFor(values) as value:
        each = number(value=value)
    with dsl.ParallelFor([7]) as value:
        number(value=value)
    return dsl.Collected(each.output)


@dsl.pipeline(name="refuses")
def refuses(value: int = 3) -> int:
    return refuse(value=number(value=value).output).output


@dsl.pipeline(name="ends-silently")
def ends_silently(value: int = 3) -> int:
    return end_silently(value=number(value=value).output).output


@dsl.pipeline(name="tries-again")
def tries_again(mark: str) -> str:
    return succeed_at_second_try(mark=mark).set_retry(1).output


@dsl.pipeline(name="waits")
def waits(mark: str) -> str:
    return wait_for_ever(mark=mark).output


@pytest.fixture(scope="module")
def successful_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run(tmp_path_factory.mktemp("successful") / "run", three_numbers, value=7)


def test_result_of_successful_run_has_outputs_of_run_and_steps(successful_run: Run) -> None:
    assert successful_run.code == 0
    assert successful_run.result["state"] == "SUCCEEDED"
    assert successful_run.outputs == {"Output": 7}
    assert successful_run.result["failed_step"] is None
    steps = successful_run.result["steps"]
    assert sorted(step["name"] for step in steps) == ["number", "number-2", "number-3"]
    assert all(step["parameters"] == {"Output": 7} and step["seconds"] > 0 for step in steps)


def test_run_folder_has_no_temporary_files_and_log_no_colours(successful_run: Run) -> None:
    assert "green" in successful_run.log
    assert "\x1b" not in successful_run.log
    files = sorted(file.name for file in successful_run.folder.iterdir())
    assert files == ["arguments.json", "artifacts", "package.yaml", "result.json"]


def test_result_of_failed_step_has_name_and_end_of_traceback(tmp_path: Path) -> None:
    ended = run(tmp_path / "run", fails_second)
    assert ended.code == 1
    assert ended.result["state"] == "FAILED"
    assert ended.result["failed_step"] == "fail"
    assert ended.result["error"].splitlines()[-1] == "ValueError: 3 is no good"
    assert [(step["name"], step["state"]) for step in ended.result["steps"]] == [
        ("number", "SUCCEEDED"),
        ("fail", "FAILED"),
    ]


def test_result_of_step_error_has_message_without_traceback(tmp_path: Path) -> None:
    ended = run(tmp_path / "run", refuses)
    assert ended.result["failed_step"] == "refuse"
    assert ended.result["error"].splitlines() == ["some noise first", "value: 3; at most 2"]


def test_result_of_silent_failure_says_so(tmp_path: Path) -> None:
    ended = run(tmp_path / "run", ends_silently)
    assert ended.result["failed_step"] == "end-silently"
    assert ended.result["error"] == "the step ended without a message"


def test_run_whose_step_succeeds_on_retry_succeeds(tmp_path: Path) -> None:
    ended = run(tmp_path / "run", tries_again, mark=str(tmp_path / "mark"))
    assert ended.code == 0
    assert ended.outputs == {"Output": "done"}
    assert [step["state"] for step in ended.result["steps"]] == ["FAILED", "SUCCEEDED"]
    assert (ended.result["failed_step"], ended.result["error"]) == (None, "")


def test_step_whose_artifact_is_downloaded_at_the_second_attempt_succeeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = []

    class Files:
        def get(self, path: str, target: str, recursive: bool) -> None:
            attempts.append(path)
            Path(target).write_text("half of it")
            if len(attempts) == 1:
                raise OSError("connection reset by peer")
            Path(target).write_text("all of it")

        def isdir(self, path: str) -> bool:
            return False

    monkeypatch.setattr(artifact_files, "file_system", lambda uri: (Files(), uri))
    (tmp_path / "scratch").mkdir()
    executors = {"exec-read": {"container": {"image": "x", "command": ["true"]}}}
    runner = StepRunner(executors, tmp_path / "artifacts", tmp_path / "scratch", RunLog(io.StringIO()), {}, 1)
    data = {"name": "data", "type": {"schemaTitle": "system.Dataset"}, "uri": "s3://b/x.csv", "metadata": {}}
    retries = {"maxRetryCount": 1, "backoffDuration": "0s"}
    # `asyncio.run` would leave this thread without a loop, which tests of Pulumi need.
    loop = asyncio.new_event_loop()
    loop.run_until_complete(runner.run("read", {"executorLabel": "exec-read"}, Outputs({}, {"data": [data]}), retries))
    loop.close()
    assert attempts == ["s3://b/x.csv"] * 2


def test_run_with_spaces_in_the_path_of_python_succeeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = tmp_path / "x y" / "ü"
    environment.parent.mkdir()
    environment.symlink_to(sys.prefix)
    monkeypatch.setattr(sys, "executable", str(environment / "bin" / "python"))
    ended = run(environment.parent / "run", tries_again, mark=str(tmp_path / "mark"))
    assert ended.code == 0, ended.log
    assert ended.outputs == {"Output": "done"}


def test_run_with_unknown_argument_fails_without_a_step(tmp_path: Path) -> None:
    ended = run(tmp_path / "run", three_numbers, worth=1)
    assert ended.code == 1
    assert ended.result["failed_step"] is None
    assert '"worth"' in ended.result["error"]


PARENT = "import subprocess, sys, time; subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE); time.sleep(600)"


@pytest.mark.parametrize("end", ["parent killed", "runner terminated"])
def test_run_and_steps_end_with_parent_or_on_sigterm(tmp_path: Path, end: str) -> None:
    mark = tmp_path / "pid"
    command = prepare_run(tmp_path / "run", waits, {"mark": str(mark)})
    parent = psutil.Popen([sys.executable, "-c", PARENT, *command], stdout=subprocess.DEVNULL)
    family: list[psutil.Process] = [parent]
    try:
        until(lambda: mark.exists() and bool(mark.read_text()))
        runner, *steps = parent.children(recursive=True)
        family += [runner, *steps]
        assert int(mark.read_text()) in [step.pid for step in steps]
        if end == "parent killed":
            parent.kill()
        else:
            runner.terminate()
        until(lambda: not any(alive(process) for process in (runner, *steps)))
    finally:
        for process in filter(alive, family):
            process.kill()
        parent.wait()
    assert not (tmp_path / "run" / "result.json").exists()


def test_run_after_timeout_is_stopped(tmp_path: Path) -> None:
    package, mark = tmp_path / "package.yaml", tmp_path / "pid"
    Compiler().compile(waits, str(package))
    engine = EmbeddedEngine(EmbeddedEngineConfig(str(tmp_path)))
    version = engine.upload("waits", "1", package.read_text(), [], 0)
    result = engine.run(RunRequest("waits", "waits-1", version, {"mark": str(mark)}, timeout_minutes=0))
    assert (result.state, result.failed_step) == ("FAILED", None)
    assert result.error == "the run exceeded its timeout of 0 minutes and was stopped"
    commands = [" ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"])]
    assert [command for command in commands if str(tmp_path) in command] == []


def alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


class RecordingLoops:
    """Runner of loops that answers each iteration with its index."""

    def __init__(self) -> None:
        self.loops: list[Loop] = []

    async def run(self, loop: Loop, log: RunLog) -> list[TaskResult]:
        self.loops.append(loop)
        name = "pipelinechannel--number-Output"
        return [TaskResult(StepState.SUCCEEDED, Outputs({name: index})) for index in range(len(loop.iterations))]


def test_loop_that_exchanges_only_parameters_is_given_away_as_a_whole(tmp_path: Path) -> None:
    prepare_run(tmp_path / "run", loops_twice, {})
    loops = RecordingLoops()
    with ThreadPoolExecutor(1) as pool:  # the end of a run removes the event loop of its thread, which other tests need
        ended = pool.submit(run_package, tmp_path / "run", "run-1", lambda dag: dag.run({"values": [4, 5]}), 1, loops)
        result = ended.result()
    assert result["outputs"] == {"Output": [0, 1]}
    (loop,) = loops.loops  # a loop with one iteration stays here
    assert [each["pipelinechannel--values-loop-item"] for each in loop.iterations] == [4, 5]
    assert [step["name"] for step in result["steps"]] == ["number-2:0"]
