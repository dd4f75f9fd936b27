"""Machines inside this computer."""

from __future__ import annotations

import os
from typing import Any

import pytest

from infra import lab
from infra.dynamic import Failure

PROPS = {"hostname": "worker-1", "stack": "nobodys", "subnet": "10.99.0.0/24", "address": "10.99.0.12", "folder": "/x"}


@pytest.mark.parametrize("provider", [lab._LabMachineProvider, lab._LabNetworkProvider])
def test_what_cannot_be_looked_into_is_not_taken_for_gone(provider: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(Failure, match="infra:machines: lab: machines inside this computer take root"):
        provider().delete("it", PROPS)
