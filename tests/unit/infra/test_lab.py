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
