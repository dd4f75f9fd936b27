"""Running stack with the settings of `dev` on free ports; every test starts with settled settings."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from infra.local.free_ports import free_ports
from tests.harness import CHECKOUT, Stack, temporary_stacks


@pytest.fixture(scope="session")
def make_stack(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    """Yield a factory of stacks with the settings of `dev` on free ports."""
    with temporary_stacks(project) as made:

        def make(name: str, beside: Stack | None = None) -> Stack:
            """Return a new stack, in the backend of the stack `beside` if there is one."""
            settings = yaml.safe_load((CHECKOUT / "Pulumi.dev.yaml").read_text())["config"]
            tracking, blobs, serving = free_ports(3)
            settings["platform:tracking"] = {"port": tracking, "retain": False}
            settings["platform:blobs"]["port"] = blobs
            settings["serving:port"] = serving
            scratch = beside.scratch if beside else tmp_path_factory.mktemp(name)
            return made(f"{name}-{serving}", scratch, settings)

        yield make


@pytest.fixture(scope="session")
def running(make_stack: object) -> Stack:
    stack = make_stack("whole")  # type: ignore[operator]
    stack.up()
    stack.settle()
    return stack


@pytest.fixture
def unsettled(running: Stack) -> Iterator[Stack]:
    """Yield the running stack with its settled settings, but without an `up`.

    For a test that starts with its own `up`: a second one would train models without need.
    """
    yield running
    running.changed = running.settings != running.settled or running.changed
    running.settings = copy.deepcopy(running.settled)


@pytest.fixture
def stack(unsettled: Stack) -> Stack:
    """Return the running stack after an `up` with its settled settings."""
    if unsettled.changed:
        unsettled.up()
        unsettled.changed = False
    return unsettled
