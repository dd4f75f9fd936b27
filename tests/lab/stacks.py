"""Stacks of machines inside this computer for tests, each in a separate network."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest
import yaml

from infra.lab.bridge import Bridge
from infra.lab.lab_root import root_file_system
from infra.lab.machine_container import MachineContainer
from settings.machines.lab_settings import LabSettings, machine_positions
from tests.harness import CHECKOUT, Stack, copy_of_checkout, temporary_stacks

from .network import free_network

UP_SECONDS = 1200


@contextmanager
def lab_stacks(folders: pytest.TempPathFactory) -> Iterator[Callable[[str], Stack]]:
    """Return a function that creates stacks with the settings of `lab`; all are destroyed at the end."""
    from airgap.bundle import index
    from airgap.bundle.source_table import load_sources
    from airgap.bundle.store import Store

    assert os.geteuid() == 0, "these tests create machines inside this computer, which needs root"
    assert index.missing_images(load_sources(), Store.default()) == [], "run `make bundle` first"
    with temporary_stacks(copy_of_checkout(folders.mktemp("checkout"))) as create:

        def make(name: str) -> Stack:
            settings = yaml.safe_load((CHECKOUT / "Pulumi.lab.yaml").read_text())["config"]
            network = free_network()
            settings["infra:lab"]["subnet"] = network.subnet
            settings["platform:load_balancer"]["addresses"] = network.balanced
            return create(network.name(name), folders.mktemp(name), settings, up_seconds=UP_SECONDS)

        yield make


def cut_power(stack: Stack, machine: str) -> None:
    """Disconnect a machine and kill all its processes, like a power cut: its kernel must not respond either.

    The processes end last: otherwise the kernel would close their connections, which no power cut does.
    """
    bridge, address = connection(stack, machine)
    bridge.disconnect(machine, address)
    kill(stack, machine)


def kill(stack: Stack, machine: str) -> None:
    """Kill all processes of a machine. Its kernel closes their connections."""
    subprocess.run(["runc", "kill", "--all", container_id(stack, machine), "KILL"], check=True)


def power_on(stack: Stack, machine: str) -> None:
    """Start a machine that was killed, with the files that it has, as the return of its power does."""
    bridge, address = connection(stack, machine)
    container = MachineContainer(container_id(stack, machine), stack.data / "lab" / machine, bridge.namespace(machine))
    container.stop()
    bridge.connect(machine, address)
    container.start(root_file_system(), machine)


def connection(stack: Stack, machine: str) -> tuple[Bridge, str]:
    """Return the bridge of a stack, and the address of a machine on it."""
    settings = LabSettings.model_validate(stack.settings["infra:lab"])
    positions = {name: position for name, _, position in machine_positions(settings)}
    return Bridge(stack.name, str(settings.subnet)), str(settings.subnet[positions[machine]])


def container_id(stack: Stack, machine: str) -> str:
    """Return the name that a machine has in runc."""
    return f"{stack.name}.{machine}"


def lose(stack: Stack, machine: str) -> None:
    """Cut the power of a machine, if it is on, and delete its disk."""
    with suppress(subprocess.CalledProcessError):
        cut_power(stack, machine)
    subprocess.run(["runc", "delete", "--force", container_id(stack, machine)], check=True)
    shutil.rmtree(stack.data / "lab" / machine)
