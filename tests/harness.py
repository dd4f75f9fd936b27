"""Temporary stacks of a temporary copy of this checkout, used as a person does: files, `pulumi`, HTTP."""

from __future__ import annotations

import copy
import json
import os
import pty
import re
import shutil
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import yaml

from tools.bootstrap.process import start_piped
from tools.cli import backend

CHECKOUT = Path(__file__).resolve().parents[1]
UP_SECONDS = 600


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
    settled: dict[str, Any] = field(default_factory=dict)
    """Settings that each test starts with."""
    changed: bool = False
    """True if a test has brought up other settings than `settled`."""
    _outputs: dict[tuple[str, ...], dict[str, Any]] = field(default_factory=dict)

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
        self._write_settings()
        if arguments[0] in ("up", "destroy"):
            self._outputs.clear()
        command = ["pulumi", *arguments, "--stack", self.name, "--non-interactive", "--color=never"]
        return start_piped(command, cwd=self.project, env=self.environment)

    def make(self, verb: str, settings: dict[str, Any] | None = None) -> tuple[int, str]:
        """Run a command as `make` does, also with other settings, and return its exit code and its output."""
        self._write_settings(settings)
        command = self._make(verb)
        finished = subprocess.run(command, cwd=self.project, env=self.environment, capture_output=True, text=True)
        return finished.returncode, finished.stdout + finished.stderr

    def make_on_terminal(self, verb: str) -> str:
        """Run a command as `make` does on a terminal, and return everything that the terminal has shown."""
        self._write_settings()
        person, program = pty.openpty()
        termios.tcsetwinsize(program, (30, 100))
        process = subprocess.Popen(
            self._make(verb), cwd=self.project, env=self.environment, stdin=program, stdout=program, stderr=program
        )
        os.close(program)
        shown = b""
        with suppress(OSError):  # the last program that has the terminal ends
            while read := os.read(person, 65536):
                shown += read
        os.close(person)
        assert process.wait() == 0, shown.decode()
        return shown.decode()

    def _make(self, verb: str) -> list[str]:
        self._outputs.clear()
        return [sys.executable, "-m", "tools.cli", verb, "--stack", self.name]

    def _write_settings(self, settings: dict[str, Any] | None = None) -> None:
        self.file.write_text(yaml.safe_dump({"config": settings or self.settings}))

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
        """Return the outputs of the last command that could change them."""
        if options not in self._outputs:
            code, output = self.pulumi("stack", "output", "--json", *options)
            assert code == 0, output
            self._outputs[options] = json.loads(output[output.index("{") :])
        return copy.deepcopy(self._outputs[options])

    @property
    def has_state(self) -> bool:
        """True if a command has put resources into the state of the stack."""
        (file,) = (self.scratch / "state/.pulumi/stacks").glob(f"*/{self.name}.json")
        return "resources" in (json.loads(file.read_text())["checkpoint"].get("latest") or {})

    def settle(self) -> None:
        """Let later tests start with the present settings: a return to the earlier ones would train models again."""
        self.settled = copy.deepcopy(self.settings)
        self.changed = False

    def destroy(self) -> tuple[int, str]:
        """Destroy the stack, also after a killed command, and return the exit code and the output."""
        self.pulumi("cancel", "--yes")
        return self.pulumi("destroy", "--yes")

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
            code, output = stack.destroy() if stack.has_state else (0, "")
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
