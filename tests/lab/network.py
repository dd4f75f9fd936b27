"""Networks inside this computer for tests. Each is unused by other tests and other stacks."""

from __future__ import annotations

import fcntl
import ipaddress
import socket
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psutil

NUMBERS = range(1, 32)
"""Numbers below the default subnets of pods and Services; 10.20.0.0/24, the default of stacks, is in no network."""
_reserved: list[IO[str]] = []


@dataclass(frozen=True)
class Network:
    """10.`number`.77.0/24."""

    number: int

    @property
    def subnet(self) -> str:
        return f"{self.prefix}.0/24"

    @property
    def prefix(self) -> str:
        """The first three numbers of the addresses."""
        return f"10.{self.number}.77"

    @property
    def gateway(self) -> str:
        """Address of this computer in the network."""
        return f"{self.prefix}.1"

    @property
    def balanced(self) -> str:
        """Addresses for Services of type LoadBalancer."""
        return f"{self.prefix}.200-{self.prefix}.219"

    def name(self, purpose: str) -> str:
        """Return the name of a stack in this network that no other stack of this computer has."""
        return f"test-{purpose}-{self.number}"


def free_network() -> Network:
    """Return a network that no link of this computer uses, and reserve it until this process ends."""
    used = {
        ipaddress.ip_address(address.address)
        for link in psutil.net_if_addrs().values()
        for address in link
        if address.family == socket.AF_INET
    }
    for network in map(Network, NUMBERS):
        subnet = ipaddress.ip_network(network.subnet)
        if not any(address in subnet for address in used) and _reserve(network):
            return network
    raise AssertionError(f"all of 10.{NUMBERS[0]}.77.0/24 to 10.{NUMBERS[-1]}.77.0/24 are in use")


def _reserve(network: Network) -> bool:
    """Return True if no other process has reserved the network: a stack has no link yet when its network is chosen."""
    file = (Path(tempfile.gettempdir()) / f"mlplatform-test-network-{network.number}.lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return False
    _reserved.append(file)
    return True
