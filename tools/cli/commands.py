"""`up`, `preview`, `picture`, `refresh`, `down`, `outputs`, `status`, `env`, `kubectl`, `pages`, `ssh` of a stack.

Each is the Pulumi command of that meaning, with a backend to keep state in, the stack selected, and the lock that a
killed run left removed. What the command line has besides goes to Pulumi (`up --target ...`).
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from infra.local.process_group import ProcessGroup
from tools.bootstrap import paths, stacks
from tools.bootstrap.console import say
from tools.cli import backend
from tools.cli.cluster_access import NotThere, kubectl, pages, secret_outputs, ssh
from tools.cli.dependency_graph import on_page, picture
from tools.cli.preview import preview
from tools.cli.preview_report import page
from tools.cli.pulumi_command import Pulumi, PulumiFailed
from tools.cli.stale_locks import StackBusy, remove_stale_locks
from tools.cli.summary import summary

TIDY = ("--suppress-progress", "--suppress-permalink=true")
UNATTENDED = ("--yes", "--skip-preview", *TIDY)


def main(arguments: Sequence[str]) -> int:
    """Carry out one command. Returns its exit code; Pulumi's own where Pulumi ran."""
    parser = argparse.ArgumentParser(prog="tools/cli", description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("--stack", required=True)
    options, more = parser.parse_known_args(arguments)
    if more[:1] == ["--"]:
        del more[0]
    try:
        if options.command != "env":
            stacks.require(options.stack)
        return COMMANDS[options.command](Pulumi(options.stack), more)
    except (stacks.UnknownStack, StackBusy, PulumiFailed, NotThere) as error:
        say(f"Error: {error}")
        return 1


def _up(pulumi: Pulumi, more: list[str]) -> int:
    pulumi.check("stack", "select", "--create")
    remove_stale_locks(pulumi)
    code = pulumi.run("up", *UNATTENDED, "--suppress-outputs", *more)
    if code == 0:
        print(f"\n{summary(pulumi.stack, _plain(pulumi))}")
    return code


def _preview(pulumi: Pulumi, more: list[str]) -> int:
    try:
        pulumi.check("stack", "select", "--create")
        code, found = preview(pulumi, more)
    except PulumiFailed as error:
        # Who reviews a change reads the page, not what its job said besides.
        code, found = 1, {"diagnostics": [{"severity": "error", "message": str(error)}]}
    print(page(pulumi.stack, found))
    return code


def _picture(pulumi: Pulumi, more: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="make picture", allow_abbrev=False)
    parser.add_argument("--page", type=Path, help="renew the picture on a page of Markdown instead of printing it")
    options, more = parser.parse_known_args(more)
    pulumi.check("stack", "select", "--create")
    drawn = picture(json.loads(pulumi.check("preview", "--json", *more)))
    if options.page:
        options.page.write_text(on_page(options.page.read_text(), drawn))
    else:
        print(drawn, end="")
    return 0


def _refresh(pulumi: Pulumi, more: list[str]) -> int:
    pulumi.check("stack", "select")
    remove_stale_locks(pulumi)
    return pulumi.run("refresh", *UNATTENDED, *more)


def _down(pulumi: Pulumi, more: list[str]) -> int:
    pulumi.check("stack", "select")
    remove_stale_locks(pulumi)
    code = pulumi.run("destroy", *UNATTENDED, "--suppress-outputs", *more)
    if code == 0:
        data = paths.directory() / "stacks" / pulumi.stack
        # An `up` that was killed may have started a service that the state does not know of.
        for record in data.rglob("*.process.json"):
            ProcessGroup(record).stop()
        kept = f" and its data in {data}" if data.is_dir() else ""
        say(f"\nKept: the tools in {paths.directory()}, and of the stack {pulumi.stack} its history{kept}.")
    return code


def _outputs(pulumi: Pulumi, more: list[str]) -> int:
    print(pulumi.check("stack", "output", "--json", *more), end="")
    return 0


def _status(pulumi: Pulumi, _more: list[str]) -> int:
    outputs = _plain(pulumi)
    print(summary(pulumi.stack, outputs))
    if "kubeconfig" in outputs:
        from tools.cli.status import now  # the clients that it takes are slow to import

        for line in now(secret_outputs(pulumi)):
            print(line, flush=True)
    return 0


def _env(pulumi: Pulumi, _more: list[str]) -> int:
    """Lines for `eval`; with the stack selected, so that `pulumi up` typed by hand works on it."""
    if pulumi.stack in stacks.names():
        pulumi.check("stack", "select", "--create")
    for name, value in backend.variables(os.environ).items():
        print(f"export {name}={shlex.quote(value)}")
    return 0


def _plain(pulumi: Pulumi) -> dict[str, Any]:
    """The stack's outputs, without secrets."""
    outputs: dict[str, Any] = json.loads(pulumi.check("stack", "output", "--json"))
    return outputs


COMMANDS: dict[str, Callable[[Pulumi, list[str]], int]] = {
    "up": _up,
    "preview": _preview,
    "picture": _picture,
    "refresh": _refresh,
    "down": _down,
    "outputs": _outputs,
    "status": _status,
    "env": _env,
    "kubectl": kubectl,
    "pages": pages,
    "ssh": ssh,
}
