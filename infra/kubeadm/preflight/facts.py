"""Facts about a machine, gathered over SSH for the preflight."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass

from infra.machine import ResolvedMachine

FACTS_SECONDS = 120
"""`preflight/facts.sh` waits up to 5 s for each peer."""


@dataclass(frozen=True)
class MachineFacts:
    """Facts that `scripts/preflight/facts.sh` prints, and the clock skew."""

    distribution: str
    distribution_version: str
    architecture: str
    hostname: str
    machine_id: str
    init: str
    cgroups: str
    """v1 or v2."""
    memory_mib: int
    disk_free_mib: int
    has_address: bool
    """True if a network link has the private address."""
    is_node: bool
    """The machine is a node of a cluster, of this stack or another one."""
    membership: str
    """The file that shows the membership, and its API server; "" without one."""
    owner: str
    """Content of the owner file, "" without one."""
    packages: tuple[str, ...]
    """Installed packages that exclude Debian's containerd, such as docker-ce."""
    services: tuple[str, ...]
    """Services of other Kubernetes distributions and container runtimes."""
    containerd_files: tuple[str, ...]
    """Settings, units and programs of containerd and runc that another program installed."""
    firewalls: tuple[str, ...]
    """Active firewalls of the machine, such as ufw."""
    sudo_error: str | None
    """Output of sudo if it needs a password, else None."""
    listening_ports: frozenset[int]
    unreachable_peers: tuple[str, ...]
    """Private addresses of other machines that did not accept a connection to port 22."""
    virtual_address: str
    """State of the API server's address: `free`, `used` by another machine, or `own`; "" without such an address."""
    clock_skew: float
    """Seconds by which the clock is ahead of this computer's."""


def parse_facts(output: str, started: float, finished: float) -> MachineFacts:
    """Return the facts that the script printed between two times of this computer's clock, in seconds since 1970."""
    lines = [line.split() for line in output.splitlines() if line]
    values = {key: words for key, *words in lines}
    text = {key: " ".join(words) for key, words in values.items()}
    sudo, *sudo_error = values["sudo"]
    clock = float(text["clock"])
    return MachineFacts(
        distribution=values["os"][0],
        distribution_version=values["os"][1],
        architecture=text["architecture"],
        hostname=text["hostname"],
        machine_id=text["machine_id"],
        init=text["init"],
        cgroups=text["cgroups"],
        memory_mib=int(text["memory_mib"]),
        disk_free_mib=int(text["disk_free_mib"]),
        has_address="has_address" in values,
        is_node="member" in values,
        membership=text.get("member", ""),
        owner=text.get("owner", ""),
        packages=_all(lines, "package"),
        services=_all(lines, "service"),
        containerd_files=_all(lines, "containerd_file"),
        firewalls=_all(lines, "firewall"),
        sudo_error=None if sudo == "yes" else " ".join(sudo_error),
        listening_ports=frozenset(int(port) for port in _all(lines, "listening")),
        unreachable_peers=_all(lines, "unreachable"),
        virtual_address=text.get("virtual_address", ""),
        # The machine read its clock at an unknown moment in this interval.
        clock_skew=clock - min(max(clock, started), finished),
    )


def _all(lines: Iterable[list[str]], name: str) -> tuple[str, ...]:
    return tuple(words[0] for key, *words in lines if key == name)


_cache: dict[str, MachineFacts] = {}
_locks: dict[str, threading.Lock] = {}
"""The preflights of all machines need the facts of all machines. In one `up`, each machine is queried once."""


def gather_facts(machine: ResolvedMachine, peers: Iterable[ResolvedMachine], virtual_address: str) -> MachineFacts:
    """Return the facts of a machine, which also tries to connect to its peers.

    Raises:
        UserError: the machine cannot be reached, or the script failed.
    """
    from infra.kubeadm.scripts import command_line, standard_input
    from infra.ssh import connected

    with _locks.setdefault(machine.name, threading.Lock()):
        if machine.name not in _cache:
            environment = {"ADDRESS": machine.address, "PEERS": " ".join(peer.address for peer in peers)}
            if virtual_address:
                environment["VIRTUAL_ADDRESS"] = virtual_address
            command = command_line("preflight/facts.sh", environment, sudo=False)
            with connected(machine) as shell:
                started = time.time()
                result = shell.run(command, standard_input("preflight/facts.sh"), seconds=FACTS_SECONDS)
                finished = time.time()
            output = result.checked(f"{machine.name}: gathering facts")
            _cache[machine.name] = parse_facts(output, started, finished)
        return _cache[machine.name]
