"""A stack that is up, with the settings of `dev` on ports of its own; every test finds it with these settings."""

from __future__ import annotations

import copy
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.harness import CHECKOUT, Stack, copy_of_checkout, free_ports


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_of_checkout(tmp_path_factory.mktemp("checkout"))


@pytest.fixture(scope="session")
def make_stack(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    """Stacks that are destroyed and forgotten at the end, whatever a test did to them."""
    made: list[Stack] = []

    def make(name: str) -> Stack:
        settings = yaml.safe_load((CHECKOUT / "Pulumi.dev.yaml").read_text())["config"]
        tracking, blobs, serving = free_ports(3)
        settings["platform:tracking"] = {"port": tracking, "retain": False}
        settings["platform:blobs"]["port"] = blobs
        settings["serving:port"] = serving
        stack = Stack(project, f"{name}-{serving}", tmp_path_factory.mktemp(name), settings)
        made.append(stack)
        subprocess.run(
            ["pulumi", "stack", "init", stack.name], cwd=project, env=stack.environment, check=True, capture_output=True
        )
        return stack

    yield make
    for stack in made:
        stack.pulumi("cancel", "--yes")
        code, output = stack.pulumi("destroy", "--yes")
        stack.file.unlink(missing_ok=True)
        assert code == 0, output


@pytest.fixture(scope="session")
def running(make_stack: object) -> Stack:
    stack = make_stack("whole")  # type: ignore[operator]
    stack.up()
    return stack


@pytest.fixture
def stack(running: Stack) -> Iterator[Stack]:
    """The running stack; what a test changes is set back after it, and brought up by the next test that needs it."""
    before = copy.deepcopy(running.settings)
    if running.changed:
        running.up()
        running.changed = False
    yield running
    running.changed = running.settings != before or running.changed
    running.settings = before
