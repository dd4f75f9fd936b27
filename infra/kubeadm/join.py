"""Step "join": add a worker to the cluster. On deletion, drain the worker and remove it from the cluster."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

import pulumi
from pulumi_command import local

from infra.kubeadm.kubectl import Kubectl, kubectl_on
from infra.kubeadm.owner import left_alone, read_owner
from infra.kubeadm.plan import ClusterPlan
from infra.kubeadm.step import NodeRequest, local_step, node_inputs, run_script
from infra.machine import Machine
from infra.ssh import connected

CA_HASH = (
    'sudo --non-interactive bash -o pipefail -c "openssl x509 -pubkey -noout -in /etc/kubernetes/pki/ca.crt | '
    "openssl pkey -pubin -outform der | openssl dgst -sha256 -hex | cut -d' ' -f2\""
)
"""Command for the hash that `kubeadm join --discovery-token-ca-cert-hash` expects, from kubeadm's documentation."""


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


def join(request: NodeRequest) -> None:
    """Run `kubeadm join` on the machine with a new token. Do nothing if the machine is a node of the cluster.

    Raises:
        UserError: kubeadm failed, or one of the two machines cannot be reached.
    """
    name = request.node.name
    with connected(request.node) as worker, kubectl_on(request.control_plane, request.owner) as kubectl:
        has_kubelet = worker.run("sudo --non-interactive test -f /etc/kubernetes/kubelet.conf").code == 0
        if kubectl.node_exists(name) and has_kubelet:
            print(f"{name} has joined before")
            return
        control_plane = kubectl.shell
        create_token = f"sudo --non-interactive kubeadm token create --ttl 15m --description 'joins {name}'"
        token = control_plane.run(create_token).checked("creating a join token").strip()
        try:
            ca_hash = control_plane.run(CA_HASH).checked("reading the cluster's certificate authority").strip()
            environment = {
                "NODE": name,
                "ADDRESS": request.node.address,
                "ENDPOINT": f"{request.control_plane.address}:6443",
            }
            stdin = f"{token} sha256:{ca_hash}\n"
            print(run_script(worker, f"{name}: kubeadm join", request, "join.sh", environment, stdin))
        finally:
            # If this fails, the token expires after 15 minutes.
            control_plane.run(f"sudo --non-interactive kubeadm token delete {token.partition('.')[0]}")


def leave(request: NodeRequest) -> None:
    """Drain a worker and remove it from the cluster. A worker that is not Ready is removed without a drain.

    The control plane of another stack, at the same address, is left alone.

    Raises:
        UserError: kubectl failed, or the control plane cannot be reached.
    """
    name = request.node.name
    with connected(request.control_plane) as shell:
        if (found := read_owner(shell)) != request.owner:
            print(left_alone(request.control_plane.name, found, request.owner))
            return
        kubectl = Kubectl(shell)
        if not kubectl.node_exists(name):
            print(f"{name} has left the cluster before")
            return
        kubectl.delete_node(name)
        shell.run(f"sudo --non-interactive rm -f {shlex.quote(f'/etc/mlplatform/nodes/{name}')}")
    print(f"{name} has left the cluster")
