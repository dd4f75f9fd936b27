"""A script of `infra/scripts` on a machine, as a command of pulumi-command."""

from __future__ import annotations

from collections.abc import Mapping

import pulumi
from pulumi_command import remote

from infra.machine import Machine
from infra.scripts import command_line


def run_script(
    name: str,
    machine: Machine,
    script: str,
    environment: Mapping[str, pulumi.Input[str]],
    *,
    stdin: pulumi.Input[str] | None = None,
    opts: pulumi.ResourceOptions,
) -> remote.Command:
    """Run a script on a machine, and again when it, its variables or what it reads changed: it has to bear that.

    Secrets belong into `stdin`: variables show in the machine's list of processes.
    """
    return remote.Command(
        name,
        connection=machine.connection,
        create=pulumi.Output.all(**environment).apply(lambda values: command_line(script, values)),
        stdin=stdin,
        opts=pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(deleted_with=machine.resource)),
    )
