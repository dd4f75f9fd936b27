"""The network of a lab: a bridge of this computer with a network namespace for each machine, without internet."""

from __future__ import annotations

import hashlib
import ipaddress
import json
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from infra.errors import UserError
from tools.bootstrap.process import CommandError, capture


@dataclass(frozen=True)
class Bridge:
    """The bridge of one stack. Linux limits link names to 15 characters, so they contain a hash of the stack's name."""

    stack: str
    subnet: str

    @property
    def link(self) -> str:
        """Name of the bridge."""
        return f"mlp-{hashlib.sha256(self.stack.encode()).hexdigest()[:6]}"

    @property
    def address(self) -> str:
        """Address of this computer on the bridge."""
        return str(ipaddress.ip_network(self.subnet)[1])

    def namespace(self, machine: str) -> str:
        """Return the name of a machine's network namespace."""
        return f"mlplatform-{self.stack}-{machine}"

    def exists(self) -> bool:
        """Return True if the bridge exists and has its address."""
        return any(self.address in addresses for link, addresses in link_addresses() if link == self.link)

    def create(self) -> None:
        """Create the bridge unless it exists.

        Raises:
            UserError: another link of this computer uses the subnet, or the bridge belongs to another stack.
        """
        subnet = ipaddress.ip_network(self.subnet)
        for link, addresses in link_addresses():
            conflicts = [address for address in addresses if ipaddress.ip_address(address) in subnet]
            if link != self.link and conflicts:
                raise UserError(
                    f"infra:lab.subnet: {self.subnet} is in use here already: {link} has {conflicts[0]}. "
                    "Choose another subnet, such as 10.21.0.0/24"
                )
            if link == self.link and addresses and self.address not in addresses:
                raise UserError(
                    f"infra:lab.subnet: another stack of this name has machines here: {link} has {addresses[0]}. "
                    "Destroy it first, or give this stack another name"
                )
        if self.exists():
            return
        self.delete()
        ip("link", "add", self.link, "address", _mac(self.address), "type", "bridge")
        ip("link", "set", self.link, "alias", f"mlplatform: machines of stack {self.stack}")
        ip("address", "add", f"{self.address}/{subnet.prefixlen}", "dev", self.link)
        ip("link", "set", self.link, "up")

    def delete(self) -> None:
        """Delete the bridge if it exists."""
        _delete("link", self.link)

    def connect(self, machine: str, address: str) -> None:
        """Create a network namespace for a machine, with `address` on the bridge."""
        namespace, link = self.namespace(machine), self.machine_link(address)
        self.disconnect(machine, address)
        ip("netns", "add", namespace)
        peer = ("name", "eth0", "address", _mac(address), "netns", namespace)
        ip("link", "add", link, "type", "veth", "peer", *peer)
        ip("link", "set", link, "master", self.link, "up")
        ip("-netns", namespace, "link", "set", "lo", "up")
        prefix = ipaddress.ip_network(self.subnet).prefixlen
        ip("-netns", namespace, "address", "add", f"{address}/{prefix}", "dev", "eth0")
        ip("-netns", namespace, "link", "set", "eth0", "up")
        ip("-netns", namespace, "route", "add", "default", "via", self.address)

    def disconnect(self, machine: str, address: str) -> None:
        """Delete a machine's network namespace and its links.

        The link is deleted first: the kernel keeps a namespace and its links while a process refers to the namespace.
        """
        _delete("link", self.machine_link(address))
        _delete("netns", self.namespace(machine))

    def machine_link(self, address: str) -> str:
        """Return the name of the bridge's end of the link to a machine."""
        return f"{self.link}-{int(ipaddress.ip_address(address)) & 0xFF}"


def _mac(address: str) -> str:
    """Return a constant hardware address for an IPv4 address.

    udev changes a random one shortly after its creation, and neighbours cache the old one for a minute.
    """
    return ":".join(f"{byte:02x}" for byte in (0x02, 0x00, *ipaddress.ip_address(address).packed))


def link_addresses() -> list[tuple[str, list[str]]]:
    """Return each link of this computer with its IPv4 addresses."""
    links: list[dict[str, Any]] = json.loads(ip("-json", "-4", "address", "show"))
    return [(link["ifname"], [entry["local"] for entry in link["addr_info"]]) for link in links if link]


def ip(*arguments: str) -> str:
    """Run `ip` and return its output.

    Raises:
        CommandError: it failed, with its message.
    """
    return capture(["ip", *arguments])


def _delete(kind: str, name: str) -> None:
    """Delete a link or a network namespace if it exists."""
    with suppress(CommandError):
        ip(kind, "delete", name)
