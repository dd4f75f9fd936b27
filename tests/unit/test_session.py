"""A program in a session of its own is ended whole, also one that ends by itself at that moment."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from infra.local.process_group import ProcessGroup

PARENT = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); "


def test_what_ends_by_itself_meanwhile_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = ProcessGroup(tmp_path / "it.process.json")
    command = [sys.executable, "-c", PARENT + "print('on', flush=True); time.sleep(600)"]
    process = session.start(command, cwd=tmp_path, env={}, log=tmp_path / "log")
    while "on" not in (tmp_path / "log").read_text():
        assert process.poll() is None
    started = [psutil.Process(process.pid), *psutil.Process(process.pid).children()]
    assert len(started) == 2

    def gone_before(end: Any) -> Any:
        def ends(self: psutil.Process) -> None:
            end(self)
            raise psutil.NoSuchProcess(self.pid)

        return ends

    for name in ("terminate", "kill"):
        monkeypatch.setattr(psutil.Process, name, gone_before(getattr(psutil.Process, name)))
    session.stop()
    process.wait()
    assert not any(each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in started)
    assert not session.record.exists()
