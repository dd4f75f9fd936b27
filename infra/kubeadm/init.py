"""Step "init": create the first control plane, and read its kubeconfig and certificates."""

from __future__ import annotations

from collections.abc import Sequence

import pulumi
from pulumi_command import local, remote

from infra.errors import UserError
from infra.kubeadm.owner import check_owner
from infra.kubeadm.plan import ClusterPlan
from infra.kubeadm.step import NodeRequest, local_step, node_inputs, remote_script
from infra.machine import Machine
from infra.ssh import connected, file_exists

CONTROL_PLANE_READY = "/etc/kubernetes/.control-plane-ready"
"""File on control planes whose `kubeadm init` or `kubeadm join` has finished."""
CLUSTER_EXISTS = "/etc/mlplatform/cluster-exists"
"""File on a machine that must not run `kubeadm init`, because other control planes have the cluster."""

FIRST_EXPIRY = (
    "sudo --non-interactive bash -e -o pipefail -c 'for file in /etc/kubernetes/pki/apiserver*.crt; do "
    'end=$(openssl x509 -enddate -noout -in "$file" | cut -d= -f2); '
    'date --utc --iso-8601=seconds --date="$end"; '
    "done | sort | sed -n 1p'"
)
"""Command for the time at which the first certificate of the API server expires."""


def configuration_variables(plan: ClusterPlan, control_plane: Machine) -> dict[str, pulumi.Input[str]]:
    """Return the variables of `scripts/configuration.sh` on a control plane."""
    settings = plan.settings
    names = [control_plane.public_address, plan.api_host, *settings.names]
    if plan.node_api_host is not None:
        names.append(plan.node_api_host)
    for other in plan.control_planes:
        if other is not control_plane:
            names += [other.private_address, other.public_address]
    variables: dict[str, pulumi.Input[str]] = {
        "NODE": control_plane.name,
        "ADDRESS": control_plane.private_address,
        # `init.sh` uses the version of the first run only. `upgrade.py` applies later ones.
        "VERSION": settings.version,
        "POD_SUBNET": str(settings.pod_subnet),
        "SERVICE_SUBNET": str(settings.service_subnet),
        "CLUSTER": plan.name,
        "NAMES": pulumi.Output.all(*names).apply(lambda known: " ".join(dict.fromkeys(known))),
    }
    return variables if plan.node_api_host is None else variables | {"ENDPOINT": plan.node_api_host}


def find_cluster(plan: ClusterPlan, depends_on: Sequence[pulumi.Resource]) -> local.Command:
    """Find out whether the other control planes have the cluster, before the first one runs `kubeadm init`."""
    name = f"{plan.control_plane.name}-find-cluster"
    options = plan.options(depends_on, deleted_with=plan.control_plane.resource)
    return local_step(name, node_inputs(plan, plan.control_plane), create="find-cluster", opts=options)


def find(request: NodeRequest) -> None:
    """Mark a new first control plane if another one has the cluster: it has to join, and not to create a second one.

    Raises:
        UserError: no control plane is known to have the cluster, and one may have it: it cannot be reached or read.
    """
    exists, errors = False, []
    with connected(request.node) as machine:
        if file_exists(machine, request.node.name, CONTROL_PLANE_READY):
            print(f"{request.node.name} is a control plane")
            return
        for other in request.other_control_planes:
            try:
                with connected(other) as shell:
                    check_owner(shell, other.name, request.owner)
                    exists = exists or file_exists(shell, other.name, CONTROL_PLANE_READY)
            except UserError as error:
                errors.append(str(error))
        if exists:
            machine.run(f"sudo --non-interactive touch {CLUSTER_EXISTS}").checked("marking the machine")
        elif errors:
            raise UserError(
                f"{request.node.name} is no control plane, and another one may have the cluster: make all of them "
                "reachable, or remove the machines that are lost from the settings:\n" + "\n".join(errors)
            )
    print(f"{request.node.name} {'joins the cluster of the others' if exists else 'creates the cluster'}")


def init_control_plane(plan: ClusterPlan, depends_on: Sequence[pulumi.Resource]) -> remote.Command:
    """Run `kubeadm init` on the first control plane, unless `find_cluster` has found the cluster on another one."""
    name = f"{plan.control_plane.name}-init"
    variables = {**configuration_variables(plan, plan.control_plane), "TAINTED": "true" if plan.workers else "false"}
    return remote_script(name, plan.control_plane, plan, "init.sh", variables, opts=plan.options(depends_on))


def admin_kubeconfig(plan: ClusterPlan, init: remote.Command, opts: pulumi.ResourceOptions) -> pulumi.Output[str]:
    """Return the administrator's kubeconfig, secret. Its server is `plan.api_host`."""
    secret = pulumi.ResourceOptions(additional_secret_outputs=["stdout"])
    read = remote.Command(
        "kubeconfig",
        connection=plan.control_plane.connection,
        create="sudo --non-interactive cat /etc/kubernetes/admin.conf",
        triggers=_certificate_triggers(plan, init),
        logging=remote.Logging.NONE,
        add_previous_output_in_env=False,
        opts=pulumi.ResourceOptions.merge(opts, secret),
    )
    private_host = plan.node_api_host or plan.control_plane.private_address
    private = pulumi.Output.concat("https://", private_host, ":6443")
    public = pulumi.Output.concat("https://", plan.api_host, ":6443")
    return pulumi.Output.all(text=read.stdout, private=private, public=public).apply(
        lambda values: values["text"].replace(values["private"], values["public"])
    )


def certificate_expiry(plan: ClusterPlan, init: remote.Command, opts: pulumi.ResourceOptions) -> pulumi.Output[str]:
    """Return the time (RFC 3339) at which the first certificate of the control plane expires."""
    read = remote.Command(
        "certificates-expire",
        connection=plan.control_plane.connection,
        create=FIRST_EXPIRY,
        triggers=_certificate_triggers(plan, init),
        add_previous_output_in_env=False,
        opts=opts,
    )
    return read.stdout


def _certificate_triggers(plan: ClusterPlan, init: remote.Command) -> Sequence[pulumi.Input[str]]:
    """Return triggers for reading again.

    Both `kubeadm init` and an upgrade issue new certificates. Another address of the API server changes the kubeconfig.
    """
    moved = [] if plan.node_api_host is None else [plan.node_api_host]
    return [init.stdout, plan.settings.version, *moved]
