"""A stack that is up, with the settings of `dev` on ports of its own; every test finds it with these settings."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.harness import CHECKOUT, Stack, copy_of_checkout, free_ports, temporary_stacks


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_of_checkout(tmp_path_factory.mktemp("checkout"))


@pytest.fixture(scope="session")
def make_stack(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    """Stacks with the settings of `dev` on ports of their own."""
    with temporary_stacks(project) as made:

        def make(name: str, beside: Stack | None = None) -> Stack:
            """`beside`: in the backend of that one."""
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
    return stack


@pytest.fixture
def unsettled(running: Stack) -> Iterator[Stack]:
    """The running stack with its settings set back, as the last test left it: the next `up` brings them up, too.

    For a test that begins with an `up` of its own: one before it would train models that nobody looks at.
    """
    before = copy.deepcopy(running.settings)
    yield running
    running.changed = running.settings != before or running.changed
    running.settings = before


@pytest.fixture
def stack(unsettled: Stack) -> Stack:
    """The running stack as its settings say."""
    if unsettled.changed:
        unsettled.up()
        unsettled.changed = False
    return unsettled
