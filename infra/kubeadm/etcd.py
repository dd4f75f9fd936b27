"""Members of the cluster's etcd, one on each control plane."""

from __future__ import annotations

import json
from contextlib import suppress

from infra.errors import UserError
from infra.kubeadm.init import CONTROL_PLANE_READY
from infra.kubeadm.kubectl import POLL_SECONDS, Kubectl
from infra.kubeadm.step import NodeRequest
from infra.machine import ResolvedMachine
from infra.retry import poll
from infra.ssh import CommandResult, connected, file_exists

PKI = "/etc/kubernetes/pki/etcd"
MEMBER_SECONDS = 60
"""etcd refuses to remove a member while another one has just restarted."""


def remove_member(kubectl: Kubectl, machine: ResolvedMachine) -> None:
    """Remove the member of a control plane that leaves, or that will join again. Do nothing if etcd has no such member.

    Raises:
        UserError: etcd cannot be queried, or refuses to remove the member, for a minute.
    """
    listed = _etcdctl(kubectl, "member list --write-out=json").checked("reading the members of etcd")
    for member in json.loads(listed)["members"]:
        # A member that has not started has no name.
        address = f"https://{machine.address}:2380"
        if member.get("name") == machine.name or address in member["peerURLs"]:
            _remove(kubectl, machine.name, f"{member['ID']:x}")


def remove_replaced_members(kubectl: Kubectl, request: NodeRequest) -> None:
    """Remove the members of lost control planes whose new machines have not joined yet.

    kubeadm changes a control plane only if all members are healthy. A machine that does not respond keeps its member:
    it may come back with its data. A machine that never was a node has no member.

    Raises:
        UserError: as in `remove_member`.
    """
    for other in request.other_control_planes and request.control_planes:
        if other.name in (request.node.name, kubectl.machine.name):
            continue
        if kubectl.node_exists(other.name) and _is_new(other):
            remove_member(kubectl, other)


def _is_new(machine: ResolvedMachine) -> bool:
    """Return True if the machine responds and has neither created nor joined a cluster."""
    with suppress(UserError), connected(machine) as shell:
        return not file_exists(shell, machine.name, CONTROL_PLANE_READY)
    return False


def _remove(kubectl: Kubectl, name: str, member: str) -> None:
    result = CommandResult(0, "", "")

    def removed() -> bool | None:
        nonlocal result
        result = _etcdctl(kubectl, f"member remove {member}")
        return True if result.code == 0 else None

    if not poll(removed, timeout=MEMBER_SECONDS, interval=POLL_SECONDS):
        raise UserError(f"removing the etcd member of {name} failed: {result.error.strip()}")
    print(f"{name}: its etcd member is removed")


def _etcdctl(kubectl: Kubectl, arguments: str) -> CommandResult:
    """Run etcdctl beside the member of the machine that `kubectl` is connected to."""
    certificates = f"--cacert {PKI}/ca.crt --cert {PKI}/peer.crt --key {PKI}/peer.key"
    etcdctl = f"etcdctl --endpoints https://127.0.0.1:2379 {certificates} {arguments}"
    return kubectl.run(f"--namespace kube-system exec etcd-{kubectl.machine.name} -- {etcdctl}")
