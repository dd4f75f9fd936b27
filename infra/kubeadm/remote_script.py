"""A script of `infra/kubeadm/scripts` on a machine, as a command of pulumi-command."""

from __future__ import annotations

from collections.abc import Mapping

import pulumi
from pulumi_command import remote

from infra.kubeadm.scripts import command_line, standard_input
from infra.machine import Machine


def remote_script(
    name: str,
    machine: Machine,
    script: str,
    environment: Mapping[str, pulumi.Input[str]],
    *,
    stdin: pulumi.Input[str] | None = None,
    opts: pulumi.ResourceOptions,
) -> remote.Command:
    """Run a script on a machine, and again when it, its variables or what it reads changed: it has to bear that.

    Secrets belong into `stdin`, which the script reads: variables show in the machine's list of processes.
    """
    values: pulumi.Output[dict[str, str]] = pulumi.Output.from_input(dict(environment))  # type: ignore[arg-type]
    return remote.Command(
        name,
        connection=machine.connection,
        create=values.apply(lambda known: command_line(script, known)),
        # The scripts look at the machine itself, not at what they said the last time.
        add_previous_output_in_env=False,
        stdin=pulumi.Output.from_input(stdin or "").apply(lambda content: standard_input(script, content)),
        opts=pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(deleted_with=machine.resource)),
    )
