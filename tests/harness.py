"""A throw-away stack of a throw-away copy of this checkout, driven as a person does: files, `pulumi`, HTTP."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import yaml

CHECKOUT = Path(__file__).resolve().parents[1]
UP_SECONDS = 600


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now, all different."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def copy_of_checkout(folder: Path) -> Path:
    """What git has or would have of this checkout, committed to a repository of its own."""
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


@dataclass
class Stack:
    """One stack; `settings` are the values of its own `Pulumi.<name>.yaml`, read anew by each command."""

    project: Path
    name: str
    scratch: Path
    settings: dict[str, Any]
    written: list[str] = field(default_factory=list)
    """All that its commands wrote, but for those that were asked for secrets."""
    up_seconds: float = UP_SECONDS
    changed: bool = False
    """Whether a test left other settings up than the ones that are here."""

    @property
    def environment(self) -> dict[str, str]:
        own = {
            "PULUMI_BACKEND_URL": f"file://{self.scratch / 'state'}?metadata=skip",
            "PULUMI_HOME": str(self.scratch / "home"),
            "PULUMI_CONFIG_PASSPHRASE": "correct horse battery staple",
        }
        (self.scratch / "state").mkdir(parents=True, exist_ok=True)
        exports = subprocess.run(
            [sys.executable, "tools/cli", "env", "--stack", self.name],
            cwd=self.project,
            env=os.environ | own,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        return os.environ | own | dict(re.findall(r"^export (\w+)='?(.*?)'?$", exports, re.MULTILINE))

    @property
    def file(self) -> Path:
        return self.project / f"Pulumi.{self.name}.yaml"

    @property
    def data(self) -> Path:
        from settings.paths import cache_directory

        return cache_directory() / "stacks" / self.name

    def command(self, *arguments: str) -> subprocess.Popen[str]:
        self.file.write_text(yaml.safe_dump({"config": self.settings}))
        return subprocess.Popen(
            ["pulumi", *arguments, "--stack", self.name, "--non-interactive", "--color=never"],
            cwd=self.project,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def pulumi(self, *arguments: str) -> tuple[int, str]:
        """Exit code and all that it wrote."""
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
        """Everything that runs in or for this stack, found by the folders that it names, with `program` in its command.

        A process that ends while it is looked at is none of them.
        """
        mine = []
        for process in psutil.process_iter():
            try:
                command = " ".join(process.cmdline())
                if program in command and str(self.data) in f"{process.cwd()} {command}":
                    mine.append(process)
            except psutil.Error:
                continue
        return mine


@contextmanager
def thrown_away(project: Path) -> Iterator[Callable[..., Stack]]:
    """Makes stacks of `project`, as `Stack` is made; all are destroyed and forgotten, whatever a test did to them."""
    made: list[Stack] = []

    def make(name: str, scratch: Path, settings: dict[str, Any], **more: Any) -> Stack:
        stack = Stack(project, name, scratch, settings, **more)
        made.append(stack)
        subprocess.run(
            ["pulumi", "stack", "init", stack.name], cwd=project, env=stack.environment, check=True, capture_output=True
        )
        return stack

    failed: list[str] = []
    try:
        yield make
    finally:
        for stack in made:
            stack.pulumi("cancel", "--yes")
            code, output = stack.pulumi("destroy", "--yes")
            stack.file.unlink(missing_ok=True)
            if code:
                failed.append(output)
            else:
                shutil.rmtree(stack.data, ignore_errors=True)
    assert failed == []


def changes(output: str) -> dict[str, int]:
    """What `pulumi up` counted under Resources: {"created": 2, "unchanged": 5}."""
    found = re.findall(
        r"^\s+(?:[+~-]|\+-)?\s*(\d+) (created|updated|deleted|replaced|unchanged)$", output, re.MULTILINE
    )
    return {what: int(count) for count, what in found}


def touched(output: str) -> set[str]:
    """Names of the resources that `pulumi up` created, updated, replaced or deleted."""
    return set(
        re.findall(
            r"^\s*[+~-]{1,2}\s+pulumi-python:\S+ (\S+) (?:created|updated|deleted|replaced)", output, re.MULTILINE
        )
    )
