"""Temporary stacks of a temporary copy of this checkout, used as a person does: files, `pulumi`, HTTP."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import yaml

from tools.bootstrap.process import start_piped
from tools.cli import backend

CHECKOUT = Path(__file__).resolve().parents[1]
UP_SECONDS = 600


def free_ports(count: int) -> list[int]:
    """Return different ports that no process listens on."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def copy_of_checkout(folder: Path) -> Path:
    """Copy the tracked and untracked files of this checkout, without ignored ones, and commit them there.

    Ignored files hold the user's stacks: their salts and overrides in .stacks must not reach a test.
    """
    listed = git(CHECKOUT, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    for name in filter(None, listed):
        if (CHECKOUT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(CHECKOUT / name, folder / name)
    (folder / ".venv").symlink_to((CHECKOUT / ".venv").resolve())
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "--quiet", "--message", "copy")
    return folder


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


def isolated_environment(scratch: Path) -> dict[str, str]:
    """Return an environment for `pulumi` whose state, home and passphrase are in `scratch` only.

    It does not select a stack. The stacks of this checkout belong to its user and have other passphrases.
    """
    (scratch / "state").mkdir(parents=True, exist_ok=True)
    environment = os.environ | {
        "PULUMI_BACKEND_URL": f"file://{scratch / 'state'}?metadata=skip",
        "PULUMI_HOME": str(scratch / "home"),
        "PULUMI_CONFIG_PASSPHRASE": "correct horse battery staple",
    }
    return environment | backend.variables(environment)


@dataclass
class Stack:
    """A stack with its own state and passphrase. Each command writes `settings` to `Pulumi.<name>.yaml`."""

    project: Path
    name: str
    scratch: Path
    settings: dict[str, Any]
    written: list[str] = field(default_factory=list)
    """Output of all commands without --show-secrets."""
    up_seconds: float = UP_SECONDS
    changed: bool = False
    """True if a test has brought up other settings than `settings`."""

    @property
    def environment(self) -> dict[str, str]:
        return isolated_environment(self.scratch)

    @property
    def file(self) -> Path:
        return self.project / f"Pulumi.{self.name}.yaml"

    @property
    def data(self) -> Path:
        from settings.paths import cache_directory

        return cache_directory() / "stacks" / self.name

    def command(self, *arguments: str) -> subprocess.Popen[str]:
        self.file.write_text(yaml.safe_dump({"config": self.settings}))
        command = ["pulumi", *arguments, "--stack", self.name, "--non-interactive", "--color=never"]
        return start_piped(command, cwd=self.project, env=self.environment)

    def pulumi(self, *arguments: str) -> tuple[int, str]:
        """Run a command and return its exit code and its output."""
        process = self.command(*arguments)
        output, _ = process.communicate(timeout=self.up_seconds)
        if "--show-secrets" not in arguments:
            self.written.append(output)
        return process.returncode, output

    def up(self, *options: str) -> str:
        code, output = self.pulumi("up", "--yes", "--skip-preview", *options)
        assert code == 0, output
        return output

    def outputs(self, *options: str) -> dict[str, Any]:
        code, output = self.pulumi("stack", "output", "--json", *options)
        assert code == 0, output
        return dict(json.loads(output[output.index("{") :]))

    def processes(self, program: str = "") -> list[psutil.Process]:
        """Return the processes of this stack, found by the stack's folder in their command line or working directory.

        A process that ends during the search is left out.

        Args:
            program: a part of the command line.
        """
        found = []
        for process in psutil.process_iter():
            try:
                command = " ".join(process.cmdline())
                if program in command and str(self.data) in f"{process.cwd()} {command}":
                    found.append(process)
            except psutil.Error:
                continue
        return found


@contextmanager
def temporary_stacks(project: Path) -> Iterator[Callable[..., Stack]]:
    """Yield a function that creates stacks of `project` with the arguments of `Stack`; destroy them at the end."""
    stacks: list[Stack] = []

    def make(name: str, scratch: Path, settings: dict[str, Any], **more: Any) -> Stack:
        stack = Stack(project, name, scratch, settings, **more)
        stacks.append(stack)
        subprocess.run(
            ["pulumi", "stack", "init", stack.name], cwd=project, env=stack.environment, check=True, capture_output=True
        )
        return stack

    failed: list[str] = []
    try:
        yield make
    finally:
        for stack in stacks:
            stack.pulumi("cancel", "--yes")
            code, output = stack.pulumi("destroy", "--yes")
            stack.file.unlink(missing_ok=True)
            if code:
                failed.append(output)
            else:
                shutil.rmtree(stack.data, ignore_errors=True)
    assert failed == []


def changes(output: str) -> dict[str, int]:
    """Return the counts that `pulumi up` prints under Resources: {"created": 2, "unchanged": 5}."""
    found = re.findall(
        r"^\s+(?:[+~-]|\+-)?\s*(\d+) (created|updated|deleted|replaced|unchanged)$", output, re.MULTILINE
    )
    return {what: int(count) for count, what in found}


def touched(output: str) -> set[str]:
    """Return the names of the resources that `pulumi up` created, updated, replaced or deleted."""
    return set(
        re.findall(
            r"^\s*[+~-]{1,2}\s+pulumi-python:\S+ (\S+) (?:created|updated|deleted|replaced)", output, re.MULTILINE
        )
    )
