"""The last successful `up` of a stack: its program, its settings and its versions."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.errors import UserError
from settings.loading import merged_settings, parse_stack_file
from tools.bootstrap.console import log_message
from tools.bootstrap.paths import PROJECT, cache_directory
from tools.bootstrap.process import CommandError, capture
from tools.cli.pulumi_command import Pulumi

NO_PROGRAM = ("Pulumi.*.yaml", "docs", "tests", "examples", "*.md")
"""Files of the checkout that are not the program."""


@dataclass(frozen=True)
class Deployment:
    """An `up` that succeeded.

    Args:
        commit: the commit of its checkout.
        dirty: True if the checkout had changes without a commit.
        written: its settings by `namespace:name`.
        secrets: names of the settings that are secret.
    """

    commit: str
    dirty: bool
    written: dict[str, Any]
    secrets: frozenset[str]

    @property
    def same_program(self) -> bool:
        """Return True if this checkout has the program of the commit; settings may differ."""
        excluded = [f":(exclude,glob)**/{each}" if "*" in each else f":(exclude){each}" for each in NO_PROGRAM]
        return not _git("diff", "--name-only", self.commit, "--", ".", *excluded)


def last_deployment(pulumi: Pulumi) -> Deployment:
    """Return the last successful `up` from Pulumi's history.

    Raises:
        UserError: no `up` succeeded, or this checkout does not have its commit.
    """
    history = json.loads(pulumi.output("stack", "history", "--json", "--show-secrets"))
    updates = [each for each in history if each["kind"] == "update" and each["result"] == "succeeded"]
    if not updates:
        raise UserError(f"the stack {pulumi.stack} was never brought up here: run `make up STACK={pulumi.stack}`")
    environment: Mapping[str, str] = updates[0]["environment"]
    commit = environment.get("git.head", "")
    file = f"Pulumi.{pulumi.name}.yaml"
    try:
        _git("cat-file", "-e", f"{commit}^{{commit}}")
    except CommandError:
        raise UserError(
            f"the last `up` of the stack {pulumi.stack} ran from the commit {commit or '(none)'}, which this checkout "
            "does not have: fetch it with git first"
        ) from None
    committed = parse_stack_file(file, _git("show", f"{commit}:{file}")) if _has(commit, file) else {}
    config = updates[0]["config"]
    return Deployment(
        commit,
        environment.get("git.dirty") == "true",
        merged_settings(committed, {name: value["value"] for name, value in config.items()}),
        frozenset(name for name, value in config.items() if value["secret"]),
    )


@contextmanager
def deployed_program(deployment: Deployment) -> Iterator[Path]:
    """Yield a folder with the program of a deployment: this checkout, or another work tree until the block ends."""
    if deployment.same_program:
        yield PROJECT
        return
    folder = cache_directory() / "rehearsals" / deployment.commit[:12]
    shutil.rmtree(folder, ignore_errors=True)
    _git("worktree", "prune")
    _git("worktree", "add", "--detach", str(folder), deployment.commit)
    try:
        yield folder
    finally:
        _git("worktree", "remove", "--force", str(folder))


def up_in(folder: Path, stack: Pulumi) -> int:
    """Run `up` of a stack with the program in another folder, and return the exit code."""
    log_message(f"Program of the last `up`: {folder}")
    for file in (f"Pulumi.{stack.name}.yaml", f".stacks/Pulumi.{stack.name}.yaml"):
        (folder / file).parent.mkdir(exist_ok=True)
        shutil.copyfile(PROJECT / file, folder / file)
    commands = (
        [sys.executable, "-m", "tools.bootstrap", "--stack", stack.stack],
        [str(folder / ".venv/bin/python"), "-m", "tools.cli", "up", "--stack", stack.stack],
    )
    for command in commands:
        if code := subprocess.run(command, cwd=folder).returncode:
            return code
    return 0


def _has(commit: str, file: str) -> bool:
    return bool(_git("ls-tree", "--name-only", commit, file))


def _git(*arguments: str) -> str:
    return capture(["git", *arguments], cwd=PROJECT)
