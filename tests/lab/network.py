"""Networks inside this computer for tests, each free of whatever else runs here: other tests, a stack of somebody's."""

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
"""Below the subnets of pods and Services, and of stacks with the settings as they are (10.20.0.0/24 is in none)."""
_held: list[IO[str]] = []


@dataclass(frozen=True)
class Network:
    """10.`number`.77.0/24."""

    number: int

    @property
    def subnet(self) -> str:
        return f"{self.prefix}.0/24"

    @property
    def prefix(self) -> str:
        """The first three numbers of its addresses."""
        return f"10.{self.number}.77"

    @property
    def gateway(self) -> str:
        """This computer's own address in it."""
        return f"{self.prefix}.1"

    @property
    def balanced(self) -> str:
        """The addresses for Services of type LoadBalancer."""
        return f"{self.prefix}.200-{self.prefix}.219"

    def name(self, what: str) -> str:
        """A name for a stack in it that no other stack of this computer has."""
        return f"test-{what}-{self.number}"


def free_network() -> Network:
    """One that no link of this computer is in; it is this process's own until it ends."""
    used = {
        ipaddress.ip_address(address.address)
        for link in psutil.net_if_addrs().values()
        for address in link
        if address.family == socket.AF_INET
    }
    for network in map(Network, NUMBERS):
        subnet = ipaddress.ip_network(network.subnet)
        if not any(address in subnet for address in used) and _taken(network):
            return network
    raise AssertionError(f"all of 10.{NUMBERS[0]}.77.0/24 to 10.{NUMBERS[-1]}.77.0/24 are in use")


def _taken(network: Network) -> bool:
    """Whether it is this process's now: a stack has no link yet when its network is chosen."""
    file = (Path(tempfile.gettempdir()) / f"mlplatform-test-network-{network.number}.lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return False
    _held.append(file)
    return True
