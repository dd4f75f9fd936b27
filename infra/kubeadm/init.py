"""Step "init": create the control plane, and read its kubeconfig and certificates."""

from __future__ import annotations

from collections.abc import Sequence

import pulumi
from pulumi_command import remote

from infra.kubeadm.plan import ClusterPlan
from infra.kubeadm.step import remote_script


def configuration_variables(plan: ClusterPlan) -> dict[str, pulumi.Input[str]]:
    """Return the variables of `scripts/configuration.sh`."""
    control_plane, settings = plan.control_plane, plan.settings
    names = [control_plane.public_address, plan.api_host, *settings.names]
    return {
        "NODE": control_plane.name,
        "ADDRESS": control_plane.private_address,
        # `init.sh` uses the version of the first run only. `upgrade.py` applies later ones.
        "VERSION": settings.version,
        "POD_SUBNET": str(settings.pod_subnet),
        "SERVICE_SUBNET": str(settings.service_subnet),
        "CLUSTER": plan.name,
        "NAMES": pulumi.Output.all(*names).apply(lambda known: " ".join(dict.fromkeys(known))),
    }


def init_control_plane(plan: ClusterPlan, packages: pulumi.Resource) -> remote.Command:
    """Run `kubeadm init` on the control plane."""
    name = f"{plan.control_plane.name}-init"
    variables = {**configuration_variables(plan), "TAINTED": "true" if plan.workers else "false"}
    return remote_script(name, plan.control_plane, plan, "init.sh", variables, opts=plan.options([packages]))


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
    private = pulumi.Output.concat("https://", plan.control_plane.private_address, ":6443")
    public = pulumi.Output.concat("https://", plan.api_host, ":6443")
    return pulumi.Output.all(text=read.stdout, private=private, public=public).apply(
        lambda values: values["text"].replace(values["private"], values["public"])
    )


def certificate_expiry(plan: ClusterPlan, init: remote.Command, opts: pulumi.ResourceOptions) -> pulumi.Output[str]:
    """Return the time (RFC 3339) at which the first certificate of the control plane expires."""
    read = remote.Command(
        "certificates-expire",
        connection=plan.control_plane.connection,
        create=(
            "sudo --non-interactive sh -c 'for file in /etc/kubernetes/pki/apiserver*.crt; do "
            'date --utc --iso-8601=seconds --date="$(openssl x509 -enddate -noout -in "$file" | cut -d= -f2)"; '
            "done' | sort | head -1"
        ),
        triggers=_certificate_triggers(plan, init),
        add_previous_output_in_env=False,
        opts=opts,
    )
    return read.stdout


def _certificate_triggers(plan: ClusterPlan, init: remote.Command) -> Sequence[pulumi.Input[str]]:
    """Return triggers for reading again: both `kubeadm init` and an upgrade issue new certificates."""
    return [init.stdout, plan.settings.version]
