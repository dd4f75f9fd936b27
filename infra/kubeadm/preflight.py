"""Step 1: is each machine fit for a node? Nothing has been changed yet when this finds that one is not."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, ReadResult, Resource

from infra.dynamic_provider import DynamicProvider, UserError, any_changed
from infra.machine import Machine

DISTRIBUTIONS = {"ubuntu": ("22.04", "24.04"), "debian": ("12", "13")}
PORTS = {
    "control-plane": {"6443": "kube-apiserver", "2379": "etcd", "2380": "etcd", "10250": "kubelet"},
    "worker": {"10250": "kubelet"},
}
MEMORY_MIB = {"control-plane": 1700, "worker": 900}
"""kubeadm asks for 1700 on a control plane."""
DISK_MIB = 5 * 1024
SKEW_SECONDS = 10
"""Certificates and etcd suffer from more."""

Facts = Mapping[str, Any]


def preflight(machine: Machine, others: Sequence[Machine], opts: pulumi.ResourceOptions) -> Preflight:
    """Look at a machine, and at the others for what two may not share."""
    return Preflight(
        f"{machine.name}-preflight",
        machine=machine.properties,
        others=[other.properties for other in others],
        opts=pulumi.ResourceOptions.merge(
            opts, pulumi.ResourceOptions(depends_on=list(machine.depends_on), deleted_with=machine.resource)
        ),
    )


class _PreflightProvider(DynamicProvider):
    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        # Another machine by this name is looked at anew; other peers, or another key for the same one, are no reason.
        same = all(not any_changed(_olds["machine"], _news["machine"], [key]) for key in ("host", "port"))
        return DiffResult(changes=not same, replaces=[] if same else ["machine"])

    def create(self, props: dict[str, Any]) -> CreateResult:
        machine, others = props["machine"], props["others"]
        facts = _facts(machine, others)
        others_facts = {}
        for other in others:
            try:
                others_facts[other["name"]] = _facts(other, [peer for peer in (machine, *others) if peer != other])
            except UserError:
                continue  # its own preflight says so
        if found := list(findings(machine, facts, others_facts)):
            raise UserError("\n".join([f"{machine['name']} ({machine['host']}) cannot become a node yet:", *found]))
        return CreateResult(machine["name"], props | {"member": facts["member"]})

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """Forget that a machine was found fit as long as it is no node: the next `up` looks at it again."""
        if props.get("member"):
            return ReadResult(id_, props)
        try:
            member = _facts(props["machine"], props["others"])["member"]
        except UserError:  # nobody knows; what else the machine takes part in says that it is away
            return ReadResult(id_, props)
        return ReadResult(id_, props | {"member": True}) if member else ReadResult("", {})


class Preflight(Resource, module="infra", name="Preflight"):
    """A machine that was found fit.

    Raises (as a failed resource):
        UserError: every reason why it is not, each with its remedy.
    """

    def __init__(
        self,
        name: str,
        *,
        machine: Mapping[str, pulumi.Input[Any]],
        others: Sequence[Mapping[str, pulumi.Input[Any]]],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__(
            _PreflightProvider(), name, {"machine": dict(machine), "others": [dict(o) for o in others]}, opts
        )


def findings(machine: Mapping[str, Any], facts: Facts, others: Mapping[str, Facts]) -> Iterable[str]:
    """Why a machine with these facts cannot become a node beside the others (their facts by name)."""
    name, version = facts["os"]
    if version not in DISTRIBUTIONS.get(name, ()):
        known = "; ".join(f"{name} {', '.join(versions)}" for name, versions in DISTRIBUTIONS.items())
        yield f"  it runs {name} {version}; this program knows {known}"
    if facts["architecture"] not in ("x86_64", "aarch64"):
        yield f"  its processor is {facts['architecture']}; there are packages for x86_64 and aarch64"
    if facts["init"] != "systemd":
        yield "  its init is not systemd"
    if facts["sudo"][0] != "yes":
        said = " ".join(facts["sudo"][1:]).strip()
        yield (
            f"  {machine['user']} may not use sudo without a password ({said}): write "
            f"`{machine['user']} ALL=(ALL) NOPASSWD: ALL` into /etc/sudoers.d/{machine['user']}"
        )
    if not facts["has_address"]:
        yield f"  none of its links has the address {machine['address']} (private_address)"
    if abs(skew := facts["skew"]) > SKEW_SECONDS:
        off = f"{abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'}"
        yield f"  its clock is {off} that of this computer: set it, and let NTP hold it"
    for other, theirs in others.items():
        if theirs["hostname"] == facts["hostname"] != machine["name"]:
            remedy = f"hostnamectl set-hostname {machine['name']}"
            yield f"  it has the same host name as {other}, {facts['hostname']}: {remedy}"
        if theirs["machine_id"] == facts["machine_id"]:
            yield (
                f"  it has the same machine-id as {other}, as copies of one disk have: "
                "rm /etc/machine-id && systemd-machine-id-setup"
            )
        if theirs["cgroups"] != facts["cgroups"]:
            both = f"{facts['cgroups']}, and {other} has {theirs['cgroups']}"
            yield f"  it has cgroups {both}: kubelet's settings are the same on all nodes"
    for peer in facts["unreached"]:
        yield f"  it cannot reach {peer}, the private address of another machine (port 22): look at routes, firewalls"
    if facts["member"]:
        return
    if facts["memory_mib"] < MEMORY_MIB[machine["role"]]:
        yield f"  it has {facts['memory_mib']} MiB of memory; a {machine['role']} takes {MEMORY_MIB[machine['role']]}"
    if facts["disk_free_mib"] < DISK_MIB:
        yield f"  {facts['disk_free_mib']} MiB are free in /var/lib; images and pods take {DISK_MIB}: make room"
    for port, program in PORTS[machine["role"]].items():
        if port in facts["listening"]:
            yield f"  port {port} is taken, which {program} takes: stop what listens there (ss -ltnp 'sport = {port}')"


def parsed(output: str) -> dict[str, Any]:
    """The facts that `facts.sh` printed."""
    lines = [line.split() for line in output.splitlines() if line]
    single = {key: values for key, *values in lines if key not in ("listening", "unreached")}
    return {
        **{key: " ".join(values) for key, values in single.items()},
        "os": tuple(single["os"]),
        "sudo": tuple(single["sudo"]),
        "has_address": "has_address" in single,
        "member": "member" in single,
        "clock": float(single["clock"][0]),
        "memory_mib": int(single["memory_mib"][0]),
        "disk_free_mib": int(single["disk_free_mib"][0]),
        "listening": {values[0] for key, *values in lines if key == "listening"},
        "unreached": [values[0] for key, *values in lines if key == "unreached"],
    }


_known: dict[str, dict[str, Any]] = {}
_locks: dict[str, threading.Lock] = {}
"""Each machine is asked once in an `up`, though the preflights of all machines want to know."""


def _facts(machine: Mapping[str, Any], peers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    from infra.kubeadm.scripts import command_line, standard_input
    from infra.ssh import connected

    with _locks.setdefault(machine["name"], threading.Lock()):
        if machine["name"] not in _known:
            values = {"ADDRESS": machine["address"], "PEERS": " ".join(peer["address"] for peer in peers)}
            with connected(machine) as shell:
                before = time.time()
                output = shell.run(
                    command_line("facts.sh", values, sudo=False), standard_input("facts.sh"), seconds=120
                )
                facts = parsed(output.checked(f"{machine['name']}: asking for facts"))
                after = time.time()
            # The clock was read at some moment between.
            clock = facts["clock"]
            _known[machine["name"]] = facts | {"skew": clock - min(max(clock, before), after)}
        return _known[machine["name"]]
