"""Machines inside this computer."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pulumi
import pytest

from infra.dynamic_provider import UserError
from infra.lab import lab_machines

PROPS = {"hostname": "worker-1", "stack": "nobodys", "subnet": "10.99.0.0/24", "address": "10.99.0.12", "folder": "/x"}


@pytest.mark.parametrize("provider", [lab_machines._LabMachineProvider, lab_machines._LabNetworkProvider])
def test_what_cannot_be_looked_into_is_not_taken_for_gone(provider: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(UserError, match="infra:machines: lab: machines inside this computer take root"):
        provider().delete("it", PROPS)


def test_more_machines_than_the_kernel_lets_watch_files_are_refused_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = tmp_path / "proc/sys/fs/inotify/max_user_instances"
    limit.parent.mkdir(parents=True)
    limit.write_text("128\n")
    monkeypatch.setattr(lab_machines, "WATCHERS", limit)
    lab_machines._require_watchers(6)
    with pytest.raises(pulumi.RunError, match=r"infra:lab\.size: 7 machines take about 140 .* limit is 128: raise it"):
        lab_machines._require_watchers(7)
