"""Machines inside this computer that no stack has made: somebody's own, with addresses and a key to log in with."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from airgap.bundle.registry import bundle_registry
from airgap.bundle.registry.push import push
from airgap.bundle.store import Store
from infra.lab.bridge import Bridge
from infra.lab.lab_machines import USER, _LabMachineProvider, _unpacked_root
from infra.secrets import key_pair
from infra.ssh import connected

from .network import Network, free_network

BASTION = "bastion"


@dataclass
class Site:
    """The first machine is to be the control plane. SSH goes through `bastion`, where there is one."""

    network: Network
    private_key: str
    machines: list[dict[str, Any]] = field(default_factory=list)
    bastion: dict[str, Any] | None = None

    def hosts(self) -> dict[str, Any]:
        """What `infra:hosts` is."""
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
        (found,) = [machine for machine in self.machines if machine["hostname"] == name]
        login = self._login(found) | {"bastion": self.bastion and self._login(self.bastion)}
        with connected(login) as shell:
            return shell.run(command).checked(command)

    def close(self) -> None:
        """From now on the machines let nobody in who does not come from the bastion."""
        assert self.bastion
        only = f"AllowUsers {USER}@{self.bastion['address']}"
        for machine in self.machines:
            self.run(
                machine["hostname"],
                f"echo '{only}' | sudo tee /etc/ssh/sshd_config.d/only.conf >/dev/null && sudo systemctl reload ssh",
            )

    def _login(self, machine: dict[str, Any]) -> dict[str, Any]:
        name, host = machine["hostname"], machine["address"]
        login = {"name": name, "host": host, "port": 22, "user": USER, "host_key": machine["host_key"]}
        return login | {"key": self.private_key}


@contextmanager
def site_of(names: Sequence[str]) -> Iterator[Site]:
    """Machines of these names at the eleventh address and on, one that is called bastion before the others."""
    from settings.paths import cache_directory

    private, public = key_pair()
    network = free_network()
    stack = network.name("site")
    bridge = Bridge(stack, network.subnet)
    bridge.create()
    provider = _LabMachineProvider()
    made = Site(network, private)
    # On a real disk: what a machine writes cannot lie on an overlay or in memory.
    folder = cache_directory() / "stacks" / stack / "lab"
    all_of_them = []
    try:
        for number, name in enumerate(names, 11):
            props = {"hostname": name, "stack": stack, "subnet": bridge.subnet, "address": f"{network.prefix}.{number}"}
            props |= {"root": str(_unpacked_root()), "authorized_key": public, "folder": str(folder / name)}
            machine = provider.create(props).outs or {}
            all_of_them.append(machine)
            if name == BASTION:
                made.bastion = machine
            else:
                made.machines.append(machine)
        yield made
    finally:
        for machine in all_of_them:
            provider.delete("", machine)
        bridge.delete()
        shutil.rmtree(folder.parent)


@contextmanager
def registry_of_ones_own(address: str, folder: Path) -> Iterator[dict[str, Any]]:
    """What the bundle has, in a registry at an address of this computer; as `platform:registry` names one's own."""
    store = Store.default()
    own = bundle_registry.start(store, address, 5443, [], folder, read_only=False)
    try:
        push(store, own.host, own.authfile, own.certificates)
        username, password = own.login
        ca_file = str(own.certificates / "ca.crt")
        yield {"url": f"https://{own.host}", "username": username, "password": password, "ca_file": ca_file}
    finally:
        bundle_registry.stop(folder)
