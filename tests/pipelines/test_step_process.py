"""Processes of steps that leave other processes behind."""

from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from kfp import dsl

from tests.pipelines.conftest import run
from tests.waiting import until
from workloads.components import component

HELPERS = ("of-group", "detached")


@component
def leave_helpers(marks: str, fails: bool) -> str:
    import subprocess
    import sys
    from pathlib import Path

    wait = [sys.executable, "-c", "import time; time.sleep(600)"]
    for helper in ("of-group", "detached"):
        process = subprocess.Popen(wait, start_new_session=helper == "detached")
        Path(marks, helper).write_text(str(process.pid))
    for line in range(1000):
        print(f"line {line}")
    if fails:
        raise SystemExit("the last line")
    return "done"


@dsl.pipeline(name="leaves-helpers")
def leaves_helpers(marks: str, fails: bool) -> str:
    return leave_helpers(marks=marks, fails=fails).output


def lives(mark: Path) -> bool:
    try:
        return psutil.Process(int(mark.read_text())).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.timeout(60)
@pytest.mark.parametrize("fails", [False, True])
def test_step_that_leaves_helpers_ends_without_them(tmp_path: Path, fails: bool) -> None:
    try:
        ended = run(tmp_path / "run", leaves_helpers, marks=str(tmp_path), fails=fails)
        until(lambda: not lives(tmp_path / "of-group"))
        assert lives(tmp_path / "detached")  # it has its own session: nothing connects it with the step
    finally:
        for helper in HELPERS:
            with suppress(psutil.NoSuchProcess, FileNotFoundError):
                psutil.Process(int((tmp_path / helper).read_text())).kill()
    lines = [f"line {number}" for number in range(1000)]
    prefix = "leave-helpers: "
    assert [line.removeprefix(prefix) for line in ended.log.splitlines() if line.startswith(f"{prefix}line")] == lines
    if fails:
        assert ended.result["error"].splitlines() == [*lines[-9:], "the last line"]
    else:
        assert ended.outputs == {"Output": "done"}
