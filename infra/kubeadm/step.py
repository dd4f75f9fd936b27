"""Steps as resources of pulumi-command. Every command that changes a machine is created here.

A step that needs one machine runs a script there (`remote_script`). A step that coordinates a machine with the control
plane runs on this computer as `python -m infra.kubeadm ACTION` and connects to both (`local_step`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
from pulumi_command import local, remote

from infra.kubeadm.plan import ClusterPlan
from infra.kubeadm.scripts import command_line, standard_input
from infra.local.local_process import PYTHON
from infra.machine import Machine, ResolvedMachine
from infra.ssh import Shell
from settings.paths import PROJECT


@dataclass(frozen=True, kw_only=True)
class MachineRequest:
    """Standard input of a local step that involves one machine. `owner` is the content of its owner file."""

    node: ResolvedMachine
    owner: str


@dataclass(frozen=True, kw_only=True)
class NodeRequest(MachineRequest):
    """Standard input of a local step that coordinates a machine with the control planes, which may include it."""

    control_plane: ResolvedMachine
    other_control_planes: Sequence[ResolvedMachine] = ()

    @property
    def control_planes(self) -> Sequence[ResolvedMachine]:
        """All control planes."""
        return (self.control_plane, *self.other_control_planes)


@dataclass(frozen=True, kw_only=True)
class VersionRequest(NodeRequest):
    """Standard input of a local step that upgrades the node if it has another version of Kubernetes or containerd.

    `version` has no leading v, as in 1.34.4. `origin` and `credentials` are those of `PackageSource`.
    `proxy` holds environment variables of the site's HTTP proxy. `runtime` holds the variables of
    `scripts/packages/containerd.sh`.
    """

    version: str
    origin: str
    credentials: str
    proxy: Mapping[str, str]
    runtime: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class ControlPlaneRequest(NodeRequest):
    """Standard input of a local step that joins a control plane.

    `environment` holds the variables of `scripts/configuration.sh`, and TAINTED as in `scripts/init.sh`.
    """

    environment: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class ReconcileRequest(NodeRequest):
    """Standard input of a local step that applies the kubeadm configuration to the node.

    `environment` holds the variables of `scripts/configuration.sh`. `digest` changes with the scripts.
    """

    environment: Mapping[str, str]
    digest: str


@dataclass(frozen=True, kw_only=True)
class AddressRequest(NodeRequest):
    """Standard input of a local step that lets the control plane hold the API server's address."""

    virtual_address: str


def node_inputs(plan: ClusterPlan, machine: Machine) -> dict[str, pulumi.Input[object]]:
    """Return the inputs of a `NodeRequest`."""
    inputs = {"node": machine.properties, "owner": plan.owner, "control_plane": plan.control_plane.properties}
    if plan.other_control_planes:
        inputs["other_control_planes"] = [other.properties for other in plan.other_control_planes]
    return inputs


def local_step(
    name: str,
    inputs: Mapping[str, pulumi.Input[object]],
    *,
    create: str | None = None,
    delete: str | None = None,
    opts: pulumi.ResourceOptions,
) -> local.Command:
    """Run actions of `infra.kubeadm.__main__` on this computer.

    Args:
        name: of the resource.
        inputs: the request, sent as JSON on standard input, which process lists do not show.
        create: the action on creation, repeated when `inputs` change.
        delete: the action on deletion.
        opts: of the resource.
    """
    request: pulumi.Output[str] = pulumi.Output.json_dumps(dict(inputs))
    return local.Command(
        name,
        create=f"{PYTHON} -m infra.kubeadm {create}" if create else "true",
        delete=f"{PYTHON} -m infra.kubeadm {delete}" if delete else None,
        dir=str(PROJECT),
        stdin=request,
        opts=opts,
    )


def remote_script(
    name: str,
    machine: Machine,
    plan: ClusterPlan,
    script: str,
    environment: Mapping[str, pulumi.Input[str]],
    *,
    stdin: pulumi.Input[str] | None = None,
    opts: pulumi.ResourceOptions,
) -> remote.Command:
    """Run a script of `infra/kubeadm/scripts` on a machine, and again when the script or its inputs change.

    Args:
        name: of the resource.
        machine: the machine to run on.
        plan: the cluster, whose owner the script gets as variable OWNER.
        script: file name of the script, which must be safe to run twice.
        environment: its variables. They show in the machine's process list, so secrets belong into `stdin`.
        stdin: text that the script reads.
        opts: of the resource.
    """
    inputs: dict[str, pulumi.Input[str]] = {"OWNER": plan.owner, **environment}
    variables: pulumi.Output[dict[str, str]] = pulumi.Output.from_input(inputs)  # type: ignore[arg-type]
    return remote.Command(
        name,
        connection=machine.connection,
        create=variables.apply(lambda known: command_line(script, known)),
        # Scripts inspect the machine, not the output of their previous run.
        add_previous_output_in_env=False,
        stdin=pulumi.Output.from_input(stdin or "").apply(lambda content: standard_input(script, content)),
        opts=pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(deleted_with=machine.resource)),
    )


def run_script(
    shell: Shell, action: str, request: MachineRequest, script: str, environment: Mapping[str, str], stdin: str = ""
) -> str:
    """Run a script of `infra/kubeadm/scripts` over an open connection to the request's node, and return its output.

    Raises:
        UserError: the script failed; the message begins with `action`.
    """
    return shell.run(
        command_line(script, {"OWNER": request.owner, **environment}), standard_input(script, stdin)
    ).checked(action)
