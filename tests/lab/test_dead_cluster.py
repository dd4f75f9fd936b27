"""The end of a lab whose control plane has no power."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.lab.bridge import Bridge

from .stacks import cut_power, lab_stacks


def test_destroy_with_a_dead_control_plane_removes_everything(tmp_path_factory: pytest.TempPathFactory) -> None:
    with lab_stacks(tmp_path_factory) as make:
        stack = make("dead")
        stack.settings["infra:lab"]["size"] = 1
        stack.settings["platform:pipelines"] = "job"
        stack.settings["workloads:pipelines"] = {"iris-local": {}}
        stack.up()
        cut_power(stack, "control-plane")
        code, output = stack.pulumi("destroy", "--yes")
        assert code == 0, output
        assert " errored" not in output, output
        assert "error: " not in output, output
        assert not Bridge(stack.name, stack.settings["infra:lab"]["subnet"]).exists()
        assert not Path(f"/run/netns/{Bridge(stack.name, '').namespace('control-plane')}").exists()
