"""Requirements of machines inside this computer."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pulumi
import pytest

from infra.dynamic_provider import UserError
from infra.lab import requirements
from infra.lab.lab_machine import _LabMachineProvider
from infra.lab.lab_network import _LabNetworkProvider
from infra.lab.machine_container import MachineContainer
from settings.machines.lab_settings import VIRTUAL_ADDRESS, LabSettings, machine_positions

PROPS = {"hostname": "worker-1", "stack": "other", "subnet": "10.99.0.0/24", "address": "10.99.0.12", "folder": "/x"}


@pytest.mark.parametrize("provider", [_LabMachineProvider, _LabNetworkProvider])
def test_delete_without_root_raises(provider: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(UserError, match="infra:machines: lab: machines inside this computer need root"):
        provider().delete("it", PROPS)


def test_more_machines_than_inotify_instances_raises_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = tmp_path / "proc/sys/fs/inotify/max_user_instances"
    limit.parent.mkdir(parents=True)
    limit.write_text("128\n")
    monkeypatch.setattr(requirements, "INOTIFY_LIMIT", limit)
    requirements.require_inotify_instances(6)
    with pytest.raises(pulumi.RunError, match=r"infra:lab\.size: 7 machines need about 140 .* limit is 128: raise it"):
        requirements.require_inotify_instances(7)


def test_read_of_a_machine_without_its_files_reports_it_as_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MachineContainer, "running", lambda _: False)
    props = PROPS | {"folder": str(tmp_path / "worker-1")}
    assert _LabMachineProvider().read("worker-1", props).id == ""
    (tmp_path / "worker-1").mkdir()
    assert _LabMachineProvider().read("worker-1", props).outs == props | {"running": False}


def test_positions_of_machines_do_not_depend_on_the_number_of_others() -> None:
    three, five = LabSettings(), LabSettings(size=7, control_planes=5)
    assert machine_positions(three) == [
        ("control-plane", "control-plane", 11),
        ("worker-1", "worker", 12),
        ("worker-2", "worker", 13),
    ]
    others = machine_positions(five)[1:5]
    assert [(name, position) for name, _, position in others] == [(f"control-plane-{n}", n + 4) for n in (2, 3, 4, 5)]
    assert set(machine_positions(three)) < set(machine_positions(five))
    assert VIRTUAL_ADDRESS not in {position for _, _, position in machine_positions(five)}
