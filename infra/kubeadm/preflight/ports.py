"""Ports that the nodes of a cluster must reach on each other, and a check of them before the installation.

Nothing listens on these ports before the installation. Therefore the check starts a listener on each machine for a few
seconds, and connects to it from all others. It finds firewalls of the machines and of the networks between them.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress

from infra.errors import UserError
from infra.kubeadm.scripts import command_line, standard_input
from infra.machine import ResolvedMachine
from infra.ssh import Shell, connected

NODE_PORTS = {"control-plane": ("6443/tcp", "10250/tcp"), "worker": ("10250/tcp",)}
"""Ports of kube-apiserver and kubelet."""
ETCD_PORTS = ("2379/tcp", "2380/tcp")
"""Ports on which several control planes reach the etcd of each other."""
KUBE_PROXY_PORT = "10256/tcp"
"""Port of kube-proxy on which control planes find dead nodes, see `mlplatform.failover.watch`."""
POD_NETWORK_PORTS = {"weave": ("6783/tcp", "6783/udp", "6784/udp"), "flannel": ("8472/udp",)}
LISTEN_SECONDS = 60
"""A listener ends after this time, even if this program is killed."""
THREADS = 16


def required_ports(machine: ResolvedMachine, peer: ResolvedMachine, network: str) -> tuple[str, ...]:
    """Return the ports on which a peer reaches the machine, as in `6443/tcp`."""
    health = (KUBE_PROXY_PORT,) if peer.role == "control-plane" else ()
    return (*NODE_PORTS[machine.role], *health, *_etcd_ports(machine, peer), *POD_NETWORK_PORTS.get(network, ()))


def _etcd_ports(machine: ResolvedMachine, peer: ResolvedMachine) -> tuple[str, ...]:
    return ETCD_PORTS if machine.role == peer.role == "control-plane" else ()


_results: dict[tuple[str, ...], dict[str, list[str]]] = {}
_lock = threading.Lock()
"""In one `up`, the machines are checked once."""


def blocked_ports(machines: Sequence[ResolvedMachine], nodes: Collection[str], network: str) -> dict[str, list[str]]:
    """Return for each machine the ports of others that it cannot reach, as in `10250/tcp of worker-1 (10.0.0.2)`.

    Args:
        machines: all machines of the cluster. A machine without SSH is left out: its own preflight reports it.
        nodes: names of the machines that are nodes already. Only new machines listen, and connect to the API server.
        network: weave or flannel.
    """
    key = tuple(sorted(machine.name for machine in machines))
    with _lock:
        if key not in _results:
            _results[key] = _probe_all(machines, nodes, network)
        return _results[key]


def _probe_all(machines: Sequence[ResolvedMachine], nodes: Collection[str], network: str) -> dict[str, list[str]]:
    with ExitStack() as stack:
        shells: dict[str, Shell] = {}
        for machine in machines:
            with suppress(UserError):
                shells[machine.name] = stack.enter_context(connected(machine))
        machines = [machine for machine in machines if machine.name in shells]

        def listen(machine: ResolvedMachine) -> None:
            if machine.name not in nodes:
                ports = dict.fromkeys(
                    port for peer in machines if peer is not machine for port in required_ports(machine, peer, network)
                )
                variables = {"PORTS": " ".join(ports), "SECONDS_TO_LISTEN": str(LISTEN_SECONDS)}
                shell = shells[machine.name]
                pid = _run(shell, "preflight/listen.sh", variables)
                stack.callback(shell.run, f"kill {pid}")

        def probe(machine: ResolvedMachine) -> list[str]:
            targets = {
                f"{peer.address}:{port}": f"{port} of {peer.name} ({peer.address})"
                for peer in machines
                if peer is not machine
                for port in _listening_ports(peer, machine, nodes, network)
            }
            lines = _run(shells[machine.name], "preflight/probe.sh", {"TARGETS": " ".join(targets)}).split()
            return [targets[line] for line in lines]

        with ThreadPoolExecutor(THREADS) as executor:
            list(executor.map(listen, machines))
            return dict(zip([machine.name for machine in machines], executor.map(probe, machines), strict=True))


def _listening_ports(
    target: ResolvedMachine, source: ResolvedMachine, nodes: Collection[str], network: str
) -> tuple[str, ...]:
    if target.name not in nodes:
        return required_ports(target, source, network)
    if target.role == "control-plane" and source.name not in nodes:
        return ("6443/tcp", *_etcd_ports(target, source))
    return ()


def _run(shell: Shell, script: str, environment: Mapping[str, str]) -> str:
    command = command_line(script, environment, sudo=False)
    return shell.run(command, standard_input(script), seconds=LISTEN_SECONDS).checked(f"running {script}").strip()
