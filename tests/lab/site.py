"""Existing machines for tests: inside this computer, but not created by a stack."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from airgap.bundle.registry import bundle_registry
from airgap.bundle.registry.push import push
from airgap.bundle.store import Store
from infra.lab.bridge import Bridge
from infra.lab.lab_machine import _LabMachineProvider
from infra.lab.lab_root import USER, root_file_system
from infra.machine import SshLogin
from infra.secrets import key_pair
from infra.ssh import connected

from .network import Network, free_network

BASTION = "bastion"


@dataclass
class Site:
    """Machines, the control plane first. SSH goes through `bastion` if there is one."""

    network: Network
    private_key: str
    machines: list[dict[str, Any]] = field(default_factory=list)
    bastion: dict[str, Any] | None = None

    def hosts(self) -> dict[str, Any]:
        """Return the setting `infra:hosts`."""
        hosts: dict[str, Any] = {"user": USER, "private_key": self.private_key, "machines": self.settings()}
        if self.bastion:
            hosts["bastion"] = {"address": self.bastion["address"], "host_key": self.bastion["host_key"]}
        return hosts

    def settings(self) -> list[dict[str, Any]]:
        return [
            {
                "name": machine["hostname"],
                "address": machine["address"],
                "host_key": machine["host_key"],
                "role": "worker" if index else "control-plane",
            }
            for index, machine in enumerate(self.machines)
        ]

    def run(self, name: str, command: str) -> str:
        (machine,) = [machine for machine in self.machines if machine["hostname"] == name]
        login = replace(self.login(machine), bastion=self.login(self.bastion) if self.bastion else None)
        with connected(login) as shell:
            return shell.run(command).checked(command)

    def close(self) -> None:
        """Configure the machines to accept SSH connections from the bastion only."""
        assert self.bastion
        rule = f"AllowUsers {USER}@{self.bastion['address']}"
        for machine in self.machines:
            self.run(
                machine["hostname"],
                f"echo '{rule}' | sudo tee /etc/ssh/sshd_config.d/only.conf >/dev/null && sudo systemctl reload ssh",
            )

    def login(self, machine: dict[str, Any]) -> SshLogin:
        """Return the direct login to a machine, without the bastion."""
        return SshLogin(
            name=machine["hostname"],
            host=machine["address"],
            port=22,
            user=USER,
            key=self.private_key,
            host_key=machine["host_key"],
        )


@contextmanager
def site_of(names: Sequence[str]) -> Iterator[Site]:
    """Create machines of these names from the eleventh address on; one that is named bastion is not a host."""
    from settings.paths import cache_directory

    private, public = key_pair()
    network = free_network()
    stack = network.name("site")
    bridge = Bridge(stack, network.subnet)
    bridge.create()
    provider = _LabMachineProvider()
    site = Site(network, private)
    # The cache is on a disk: a machine's files cannot be on an overlay or in memory.
    folder = cache_directory() / "stacks" / stack / "lab"
    created = []
    try:
        for number, name in enumerate(names, 11):
            props = {"hostname": name, "stack": stack, "subnet": bridge.subnet, "address": f"{network.prefix}.{number}"}
            props |= {"root": str(root_file_system()), "authorized_key": public, "folder": str(folder / name)}
            machine = provider.create(props).outs or {}
            created.append(machine)
            if name == BASTION:
                site.bastion = machine
            else:
                site.machines.append(machine)
        yield site
    finally:
        for machine in created:
            provider.delete("", machine)
        bridge.delete()
        shutil.rmtree(folder.parent)


@contextmanager
def existing_registry(address: str, folder: Path) -> Iterator[dict[str, Any]]:
    """Serve a writable registry with the bundle's images at an address of this computer; yield `platform:registry`."""
    store = Store.default()
    server = bundle_registry.start(store, address, 5443, [], folder, read_only=False)
    try:
        push(store, server.host, server.authfile, server.certificates)
        username, password = server.login
        ca_file = str(server.certificates / "ca.crt")
        yield {"url": f"https://{server.host}", "username": username, "password": password, "ca_file": ca_file}
    finally:
        bundle_registry.stop(folder)
