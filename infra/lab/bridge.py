"""The lab's network: a bridge of this computer, and on it a network namespace for each machine. None leads outside."""

from __future__ import annotations

import hashlib
import ipaddress
import json
import subprocess
from dataclasses import dataclass
from typing import Any

from infra.dynamic_provider import UserError


@dataclass(frozen=True)
class Bridge:
    """The bridge of one stack. Linux allows 15 characters for a link's name, so theirs are made of a hash."""

    stack: str
    subnet: str

    @property
    def link(self) -> str:
        return f"mlp-{hashlib.sha256(self.stack.encode()).hexdigest()[:6]}"

    @property
    def address(self) -> str:
        """This computer's own address on it."""
        return str(ipaddress.ip_network(self.subnet)[1])

    def namespace(self, machine: str) -> str:
        return f"mlplatform-{self.stack}-{machine}"

    def there(self) -> bool:
        return any(self.address in addresses for link, addresses in _addresses() if link == self.link)

    def create(self) -> None:
        """Make it, or leave it as it is.

        Raises:
            UserError: another link of this computer is in that subnet, or the bridge belongs to another stack.
        """
        subnet = ipaddress.ip_network(self.subnet)
        for link, addresses in _addresses():
            taken = [address for address in addresses if ipaddress.ip_address(address) in subnet]
            if link != self.link and taken:
                raise UserError(
                    f"infra:lab.subnet: {self.subnet} is in use here already: {link} has {taken[0]}. "
                    "Choose another subnet, such as 10.21.0.0/24"
                )
            if link == self.link and addresses and self.address not in addresses:
                raise UserError(
                    f"infra:lab.subnet: another stack of this name has machines here: {link} has {addresses[0]}. "
                    "Destroy it first, or give this stack another name"
                )
        if self.there():
            return
        self.delete()
        ip("link", "add", self.link, "address", _mac(self.address), "type", "bridge")
        ip("link", "set", self.link, "alias", f"mlplatform: machines of stack {self.stack}")
        ip("address", "add", f"{self.address}/{subnet.prefixlen}", "dev", self.link)
        ip("link", "set", self.link, "up")

    def delete(self) -> None:
        """Remove it; one that is gone already is no error."""
        ip("link", "delete", self.link, check=False)

    def connect(self, machine: str, address: str) -> None:
        """Give a machine a network namespace of its own, with `address` on the bridge."""
        namespace, outside = self.namespace(machine), self._outside(address)
        self.disconnect(machine, address)
        ip("netns", "add", namespace)
        peer = ("name", "eth0", "address", _mac(address), "netns", namespace)
        ip("link", "add", outside, "type", "veth", "peer", *peer)
        ip("link", "set", outside, "master", self.link, "up")
        ip("-netns", namespace, "link", "set", "lo", "up")
        prefix = ipaddress.ip_network(self.subnet).prefixlen
        ip("-netns", namespace, "address", "add", f"{address}/{prefix}", "dev", "eth0")
        ip("-netns", namespace, "link", "set", "eth0", "up")
        ip("-netns", namespace, "route", "add", "default", "via", self.address)

    def disconnect(self, machine: str, address: str) -> None:
        """Remove a machine's network namespace and its links.

        The kernel keeps a namespace, and the link's end out here, for as long as anything still refers to it.
        """
        ip("link", "delete", self._outside(address), check=False)
        ip("netns", "delete", self.namespace(machine), check=False)

    def _outside(self, address: str) -> str:
        """The bridge's end of the link to the machine of that address."""
        return f"{self.link}-{int(ipaddress.ip_address(address)) & 0xFF}"


def _mac(address: str) -> str:
    """A hardware address of our own making for an IPv4 address.

    One that is left to chance is changed by udev a moment later, and neighbours look for the old one for a minute.
    """
    return ":".join(f"{byte:02x}" for byte in (0x02, 0x00, *ipaddress.ip_address(address).packed))


def _addresses() -> list[tuple[str, list[str]]]:
    """The IPv4 addresses of this computer by link."""
    links: list[dict[str, Any]] = json.loads(ip("-json", "-4", "address", "show"))
    return [(link["ifname"], [entry["local"] for entry in link["addr_info"]]) for link in links if link]


def ip(*arguments: str, check: bool = True) -> str:
    """Run `ip`; returns what it printed.

    Raises:
        UserError: it failed, with its message.
    """
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True)
    if check and done.returncode:
        raise UserError(f"`ip {' '.join(arguments)}` failed: {done.stderr.strip()}")
    return done.stdout
