"""Stopping a background program with its child processes."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from infra.local.process_group import ProcessGroup

PARENT = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); "


def test_stop_with_processes_that_end_by_themselves_stops_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    group = ProcessGroup(tmp_path / "it.process.json")
    command = [sys.executable, "-c", PARENT + "print('on', flush=True); time.sleep(600)"]
    process = group.start(command, cwd=tmp_path, env={}, log=tmp_path / "log")
    while "on" not in (tmp_path / "log").read_text():
        assert process.poll() is None
    started = [psutil.Process(process.pid), *psutil.Process(process.pid).children()]
    assert len(started) == 2

    def race(method: Any) -> Any:
        """Return the method with the error that psutil raises if the process ends at that moment."""

        def call(self: psutil.Process) -> None:
            method(self)
            raise psutil.NoSuchProcess(self.pid)

        return call

    for name in ("terminate", "kill"):
        monkeypatch.setattr(psutil.Process, name, race(getattr(psutil.Process, name)))
    group.stop()
    process.wait()
    assert not any(each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in started)
    assert not group.record.exists()


def test_leader_after_a_change_of_the_clock_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    group = ProcessGroup(tmp_path / "it.process.json")
    command = [sys.executable, "-c", "import time; time.sleep(600)"]
    process = group.start(command, cwd=tmp_path, env={}, log=tmp_path / "log")
    try:
        # psutil adds the time of the boot, which Linux computes from the clock.
        create_time = psutil.Process.create_time
        monkeypatch.setattr(psutil.Process, "create_time", lambda self: create_time(self) + 3600)
        leader = group.leader()
        assert leader is not None
        assert leader.pid == process.pid
        record = json.loads(group.record.read_text())
        group.record.write_text(json.dumps(record | {"started": record["started"] + 1}))
        assert group.leader() is None  # another program, which has the same process id
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(("shift", "ends"), [(0.0, True), (-3.0, False)])
def test_stop_with_the_record_of_an_older_program_ends_that_process_only(
    tmp_path: Path, shift: float, ends: bool
) -> None:
    group = ProcessGroup(tmp_path / "it.process.json")
    command = [sys.executable, "-c", "import time; time.sleep(600)"]
    process = group.start(command, cwd=tmp_path, env={}, log=tmp_path / "log")
    try:
        # Older programs recorded the time of day. With another time, the process id belongs to another program.
        started = psutil.Process(process.pid).create_time() + shift
        group.record.write_text(json.dumps({"pid": process.pid, "started": started}))
        group.stop()
        assert (process.poll() is not None) is ends
        assert not group.record.exists()
    finally:
        process.kill()
        process.wait()
