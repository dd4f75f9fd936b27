"""Step "join": add a machine to the cluster. On deletion, drain it and remove it from the cluster."""

from __future__ import annotations

import secrets
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import pulumi
from pulumi_command import local

from infra.errors import UserError
from infra.kubeadm.etcd import remove_member
from infra.kubeadm.init import CONTROL_PLANE_READY, configuration_variables
from infra.kubeadm.kubectl import Kubectl, kubectl_on
from infra.kubeadm.owner import OtherOwnerError, check_owner
from infra.kubeadm.plan import ClusterPlan
from infra.kubeadm.step import ControlPlaneRequest, NodeRequest, local_step, node_inputs, run_script
from infra.machine import Machine
from infra.ssh import connected, file_exists

CA_HASH = (
    'sudo --non-interactive bash -o pipefail -c "openssl x509 -pubkey -noout -in /etc/kubernetes/pki/ca.crt | '
    "openssl pkey -pubin -outform der | openssl dgst -sha256 -hex | cut -d' ' -f2\""
)
"""Command for the hash that `kubeadm join --discovery-token-ca-cert-hash` expects, from kubeadm's documentation."""
CERTIFICATES_OWNER = (
    "--namespace kube-system get secret kubeadm-certs --ignore-not-found "
    "--output jsonpath='{.metadata.ownerReferences[0].name}'"
)
"""Arguments of kubectl for the token whose end deletes the uploaded certificates."""


def join_worker(
    worker: Machine, plan: ClusterPlan, depends_on: Sequence[pulumi.Resource], cluster_resource: pulumi.Resource
) -> local.Command:
    """Join a worker. When `cluster_resource` is deleted too, the worker does not leave the cluster first."""
    return local_step(
        f"{worker.name}-join",
        node_inputs(plan, worker),
        create="join",
        delete="leave",
        opts=plan.options(depends_on, deleted_with=cluster_resource),
    )


def join_control_plane(
    machine: Machine, plan: ClusterPlan, depends_on: Sequence[pulumi.Resource], cluster_resource: pulumi.Resource
) -> local.Command:
    """Join a control plane unless `kubeadm init` has created it. Otherwise like `join_worker`.

    The only control plane of a cluster has this step, too: while it is the last of several, it must not leave.
    """
    tainted = "true" if plan.workers else "false"
    return local_step(
        f"{machine.name}-join",
        {
            **node_inputs(plan, machine),
            "environment": {**configuration_variables(plan, machine), "TAINTED": tainted},
        },
        create="join-control-plane",
        delete="leave",
        opts=plan.options(depends_on, deleted_with=cluster_resource),
    )


def join(request: NodeRequest) -> None:
    """Run `kubeadm join` on the worker with a new token. Do nothing if the machine is a node of the cluster.

    First, remove the node of a lost machine of the same name and address.

    Raises:
        UserError: kubeadm failed, or one of the two machines cannot be reached.
    """
    name = request.node.name
    with connected(request.node) as worker, kubectl_on(request) as kubectl:
        has_kubelet = file_exists(worker, name, "/etc/kubernetes/kubelet.conf")
        if kubectl.node_exists(name) and has_kubelet:
            print(f"{name} has joined before")
            return
        kubectl.forget_lost_machine(request.node)
        with _join_token(kubectl, name) as discovery:
            # Over the API server of the machine that created the token: others can receive the token later.
            environment = {"NODE": name, "ADDRESS": request.node.address, "ENDPOINT": _endpoint(kubectl)}
            print(run_script(worker, f"{name}: kubeadm join", request, "join.sh", environment, f"{discovery}\n"))


def join_control_plane_now(request: ControlPlaneRequest) -> None:
    """Run `kubeadm join` on the control plane with a new token, and a new key for the cluster's certificates.

    Do nothing if the machine is a control plane of the cluster. First, remove what an unfinished join or a lost machine
    of the same name left: its member of etcd, its node, and the mirrors of its static pods. kubeadm would compare the
    new static pods with the old mirrors.

    Raises:
        UserError: kubeadm failed, or no other control plane can be used.
    """
    name = request.node.name
    if not request.other_control_planes:
        print(f"{name} is the only control plane")
        return
    with connected(request.node) as machine:
        is_ready = file_exists(machine, name, CONTROL_PLANE_READY)
        if is_ready and name == request.control_plane.name:
            print(f"{name} has created or joined the cluster before")
            return
        others = [other for other in request.control_planes if other.name != name]
        with kubectl_on(request, others) as kubectl:
            if is_ready and kubectl.node_exists(name):
                print(f"{name} has joined before")
                return
            remove_member(kubectl, request.node)
            kubectl.forget_lost_machine(request.node)
            kubectl.delete_static_pods(name)
            read_keys = kubectl.shell.run("sudo --non-interactive cat /etc/kubernetes/encryption.yaml")
            encryption = read_keys.checked("reading the encryption keys of Secrets")
            with _join_token(kubectl, name) as discovery, _uploaded_certificates(kubectl, request) as key:
                environment = {**request.environment, "DISCOVERY": _endpoint(kubectl)}
                stdin = f"{discovery} {key}\n{encryption}"
                print(
                    run_script(machine, f"{name}: kubeadm join", request, "control-plane/join.sh", environment, stdin)
                )


def leave(request: NodeRequest) -> None:
    """Drain a node and remove it from the cluster. A node that is not Ready is removed without a drain.

    The member of etcd of a control plane is removed, too. The control planes of another stack, at the same addresses,
    are left alone.

    Raises:
        UserError: kubectl failed, or no other control plane can be used.
    """
    node = request.node
    others = [other for other in request.control_planes if other.name != node.name]
    if not others:
        print(f"{node.name} is the only control plane: the cluster ends with it")
        return
    try:
        with kubectl_on(request, others) as kubectl:
            exists = kubectl.node_exists(node.name)
            if exists:
                kubectl.drain_if_ready(node.name)
            if node.role == "control-plane":
                _stop_keepalived(request)
                remove_member(kubectl, node)
            if exists:
                kubectl.delete_node(node.name)
    except OtherOwnerError as error:
        print(error)
        return
    for other in others:
        with suppress(UserError), connected(other) as shell:
            check_owner(shell, other.name, request.owner)
            shell.run(f"sudo --non-interactive rm -f {shlex.quote(f'/etc/mlplatform/nodes/{node.name}')}")
    print(f"{node.name} has left the cluster" if exists else f"{node.name} has left the cluster before")


@contextmanager
def _join_token(kubectl: Kubectl, name: str) -> Iterator[str]:
    """Create a token that only this join uses, and yield it with the hash of the cluster's certificate authority."""
    shell = kubectl.shell
    create_token = f"sudo --non-interactive kubeadm token create --ttl 15m --description 'joins {name}'"
    token = shell.run(create_token).checked("creating a join token").strip()
    try:
        ca_hash = shell.run(CA_HASH).checked("reading the cluster's certificate authority").strip()
        yield f"{token} sha256:{ca_hash}"
    finally:
        # If this fails, the token expires after 15 minutes.
        shell.run(f"sudo --non-interactive kubeadm token delete {token.partition('.')[0]}")


@contextmanager
def _uploaded_certificates(kubectl: Kubectl, request: ControlPlaneRequest) -> Iterator[str]:
    """Upload the cluster's certificates, encrypted with a new key, and yield the key."""
    key = secrets.token_hex(32)
    action = f"{kubectl.machine.name}: uploading the cluster's certificates"
    run_script(kubectl.shell, action, request, "control-plane/upload-certificates.sh", {}, f"{key}\n")
    try:
        yield key
    finally:
        # If this fails, Kubernetes deletes them after two hours.
        if token := kubectl.run(CERTIFICATES_OWNER).output.strip():
            kubectl.run(f"--namespace kube-system delete secret kubeadm-certs {token} --ignore-not-found")


def _stop_keepalived(request: NodeRequest) -> None:
    """Move the API server's address to another machine before this one's API server stops, if the machine responds."""
    with suppress(UserError), connected(request.node) as shell:
        check_owner(shell, request.node.name, request.owner)
        shell.run("sudo --non-interactive systemctl stop keepalived")


def _endpoint(kubectl: Kubectl) -> str:
    return f"{kubectl.machine.address}:6443"
