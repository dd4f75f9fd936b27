"""Step "preflight": check that each machine can become a node, before any machine is changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, ReadResult, Resource, UpdateResult

from infra.dynamic_provider import DynamicProvider, UserError, any_changed
from infra.kubeadm.owner import OWNER_FILE
from infra.kubeadm.plan import ClusterPlan
from infra.kubeadm.preflight.facts import MachineFacts, gather_facts
from infra.kubeadm.preflight.ports import blocked_ports
from infra.machine import Machine, ResolvedMachine

DISTRIBUTIONS = {"ubuntu": ("22.04", "24.04"), "debian": ("12", "13")}
ARCHITECTURES = ("x86_64", "aarch64")
PORTS = {
    "control-plane": {6443: "kube-apiserver", 2379: "etcd", 2380: "etcd", 10250: "kubelet"},
    "worker": {10250: "kubelet"},
}
MEMORY_MIB = {"control-plane": 1700, "worker": 900}
"""kubeadm requires 1700 on a control plane."""
DISK_MIB = 5 * 1024
SKEW_SECONDS = 10
"""A larger clock skew breaks certificates and etcd."""


def run_preflight(machine: Machine, plan: ClusterPlan) -> Preflight:
    """Check one machine, also against the other machines of the cluster."""
    return Preflight(
        f"{machine.name}-preflight",
        machine=machine.properties,
        others=[other.properties for other in plan.machines if other is not machine],
        owner=plan.owner,
        network=plan.network,
        virtual_address=plan.virtual_address,
        opts=plan.options(machine.depends_on, deleted_with=machine.resource),
    )


class _PreflightProvider(DynamicProvider):
    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        """Check a machine with another address again. Other peers or another key do not matter."""
        moved = any_changed(_olds["machine"], _news["machine"], ("host", "port"))
        moved = moved or _olds.get("virtual_address") != _news.get("virtual_address")
        return DiffResult(changes=moved, replaces=["machine"] if moved else [])

    def create(self, props: dict[str, Any]) -> CreateResult:
        machine, others = _parse(props)
        virtual_address = props.get("virtual_address") or ""
        facts = gather_facts(machine, others, virtual_address)
        other_facts = {}
        for other in others:
            try:
                peers = [peer for peer in (machine, *others) if peer is not other]
                other_facts[other.name] = gather_facts(other, peers, virtual_address)
            except UserError:
                continue  # the preflight of that machine reports it
        findings = list(check_machine(machine, facts, other_facts, props["owner"]))
        all_facts = {machine.name: facts, **other_facts}
        if machine.role == "control-plane":
            findings += _check_virtual_address(virtual_address, machine.name, all_facts)
        nodes = {name for name, known in all_facts.items() if known.is_node}
        # Without another finding: a listener must not take a port that a finding is about.
        if others and not findings:
            blocked = blocked_ports([machine, *others], nodes, props["network"])
            findings = list(_check_ports(blocked.get(machine.name, []), all_facts))
        if findings:
            raise UserError("\n".join([f"{machine.name} ({machine.host}) cannot become a node yet:", *findings]))
        return CreateResult(machine.name, props | {"member": facts.is_node})

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        """Keep the result: every change that matters replaces the resource."""
        return UpdateResult(_news | {"member": _olds.get("member", False)})

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """Report the resource as deleted while the machine is no node of this cluster: `up` checks it again."""
        if props.get("member"):
            return ReadResult(id_, props)
        machine, others = _parse(props)
        try:
            facts = gather_facts(machine, others, props.get("virtual_address") or "")
        except UserError:  # unknown; other resources on the machine report that it is unreachable
            return ReadResult(id_, props)
        joined = facts.is_node and facts.owner == props.get("owner")
        return ReadResult(id_, props | {"member": True}) if joined else ReadResult("", {})


class Preflight(Resource, module="infra", name="Preflight"):
    """A passed check of a machine.

    Raises (as a failed resource):
        UserError: the machine cannot become a node; with every finding and its remedy.
    """

    def __init__(
        self,
        name: str,
        *,
        machine: Mapping[str, pulumi.Input[Any]],
        others: Sequence[Mapping[str, pulumi.Input[Any]]],
        owner: pulumi.Input[str],
        network: str,
        virtual_address: str | None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        props: dict[str, Any] = {"machine": dict(machine), "others": [dict(other) for other in others]}
        props |= {"owner": owner, "network": network}
        if virtual_address:
            props["virtual_address"] = virtual_address
        super().__init__(_PreflightProvider(), name, props, opts)


def _parse(props: Mapping[str, Any]) -> tuple[ResolvedMachine, list[ResolvedMachine]]:
    return ResolvedMachine.parse(props["machine"]), [ResolvedMachine.parse(other) for other in props["others"]]


def check_machine(
    machine: ResolvedMachine, facts: MachineFacts, other_facts: Mapping[str, MachineFacts], owner: str
) -> Iterator[str]:
    """Yield each reason why the machine cannot become a node beside the other machines, with its remedy.

    Args:
        machine: its settings.
        facts: its facts.
        other_facts: facts of the other machines by name.
        owner: content of the owner files of the cluster's machines.
    """
    yield from _check_owner(facts, owner)
    yield from _check_system(machine, facts)
    for other, others in other_facts.items():
        yield from _check_pair(machine, facts, other, others)
    for peer in facts.unreachable_peers:
        yield f"  it cannot reach {peer}, the private address of another machine (port 22): check routes and firewalls"
    if not facts.is_node:
        yield from _check_resources(machine, facts)
        yield from _check_programs(facts)


def _check_owner(facts: MachineFacts, owner: str) -> Iterator[str]:
    if facts.owner and facts.owner != owner:
        yield (
            f"  it belongs to another stack ({OWNER_FILE} has {facts.owner}): destroy that stack. If it no longer "
            f"exists, run `kubeadm reset` there and delete {OWNER_FILE}"
        )
    if facts.is_node and not facts.owner:
        yield (
            f"  it is a node of a cluster that this stack did not create ({facts.membership}): remove it from that "
            "cluster, run `kubeadm reset` there and delete /etc/kubernetes"
        )


def _check_virtual_address(address: str, machine: str, facts: Mapping[str, MachineFacts]) -> Iterator[str]:
    """Yield a finding if a machine outside of the cluster has the address, or one that is no node yet."""
    holders = [name for name, known in facts.items() if known.virtual_address == "own"]
    if any(facts[name].is_node for name in holders):
        return
    if facts[machine].virtual_address in ("own", "used"):
        yield (
            f"  {address} (infra:kubernetes.virtual_address) is in use by {', '.join(holders) or 'another machine'}: "
            "set an unused address in the network of the control planes"
        )


def _check_ports(blocked: Sequence[str], facts: Mapping[str, MachineFacts]) -> Iterator[str]:
    if blocked:
        firewalls = [f"{name} has {', '.join(known.firewalls)}" for name, known in facts.items() if known.firewalls]
        active = f" (active: {'; '.join(firewalls)})" if firewalls else ""
        yield (
            f"  it cannot reach ports that Kubernetes needs: {', '.join(blocked)}: allow these ports between the "
            f"machines in their firewalls{active} and in the networks between them"
        )


def _check_programs(facts: MachineFacts) -> Iterator[str]:
    if facts.packages:
        yield (
            f"  it has {', '.join(facts.packages)}, which the installation of containerd would remove or reconfigure: "
            f"use another machine, or run `apt-get purge {' '.join(facts.packages)}` there"
        )
    if facts.services:
        yield (
            f"  it has the services {', '.join(facts.services)} of another cluster or container runtime: "
            "use another machine, or uninstall them"
        )
    if facts.containerd_files:
        yield (
            f"  another program installed {', '.join(facts.containerd_files)}, which this program would overwrite: "
            "use another machine, or uninstall that program"
        )


def _check_system(machine: ResolvedMachine, facts: MachineFacts) -> Iterator[str]:
    distribution, version = facts.distribution, facts.distribution_version
    if version not in DISTRIBUTIONS.get(distribution, ()):
        known = "; ".join(f"{name} {', '.join(versions)}" for name, versions in DISTRIBUTIONS.items())
        yield f"  it runs {distribution} {version}; supported are {known}"
    if facts.architecture not in ARCHITECTURES:
        yield f"  its processor is {facts.architecture}; supported are {' and '.join(ARCHITECTURES)}"
    if facts.init != "systemd":
        yield "  its init system is not systemd"
    if facts.sudo_error is not None:
        yield (
            f"  {machine.user} may not use sudo without a password ({facts.sudo_error.strip()}): write "
            f"`{machine.user} ALL=(ALL) NOPASSWD: ALL` into /etc/sudoers.d/{machine.user}"
        )
    if not facts.has_address:
        yield f"  none of its links has the address {machine.address} (private_address)"
    if abs(skew := facts.clock_skew) > SKEW_SECONDS:
        offset = f"{abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'}"
        yield f"  its clock is {offset} that of this computer: set it, and synchronize it by NTP"


def _check_pair(machine: ResolvedMachine, facts: MachineFacts, other: str, others: MachineFacts) -> Iterator[str]:
    if others.hostname == facts.hostname != machine.name:
        remedy = f"hostnamectl set-hostname {machine.name}"
        yield f"  it has the same host name as {other}, {facts.hostname}: {remedy}"
    if others.machine_id == facts.machine_id:
        yield (
            f"  it has the same machine-id as {other}, probably as a copy of its disk: "
            "rm /etc/machine-id && systemd-machine-id-setup"
        )
    if others.cgroups != facts.cgroups:
        both = f"{facts.cgroups}, and {other} has {others.cgroups}"
        yield f"  it has cgroups {both}: all nodes share kubelet's settings, so all need the same version"


def _check_resources(machine: ResolvedMachine, facts: MachineFacts) -> Iterator[str]:
    if facts.memory_mib < MEMORY_MIB[machine.role]:
        yield f"  it has {facts.memory_mib} MiB of memory; a {machine.role} needs {MEMORY_MIB[machine.role]}"
    if facts.disk_free_mib < DISK_MIB:
        yield (
            f"  {facts.disk_free_mib} MiB are free in /var/lib; images and pods need {DISK_MIB}: "
            "delete files or extend the disk"
        )
    for port, program in PORTS[machine.role].items():
        if port in facts.listening_ports:
            yield f"  port {port} is taken, which {program} needs: stop the program there (ss -ltnp 'sport = {port}')"
