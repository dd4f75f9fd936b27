"""Machines in place of real ones for steps of the kubeadm cluster: they record commands and print what a test says."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from infra.errors import UserError
from infra.local.free_ports import free_port
from infra.machine import SshLogin
from infra.secrets import key_pair
from infra.ssh import CommandResult
from tests.sandbox import OWNER

TOKEN = "abcdef.0123456789abcdef"


def properties(name: str, role: str, address: str = "10.0.0.1") -> dict[str, Any]:
    """Return `Machine.properties` of a machine whose SSH server is off, with the floats that Pulumi sends."""
    private, public = key_pair()
    login = {"host": "127.0.0.1", "port": float(free_port()), "user": "me", "key": private, "host_key": public}
    return {"name": name, "role": role, "address": address, **login, "bastion": None}


class Recorder:
    """Machines that accept every command and record it.

    `failing` is a part of the commands that fail, `off` are machines without SSH. All files exist except those that
    commands with the part `missing` look for. `printed` is the output of commands by a part of `machine: command`,
    first match first.
    """

    def __init__(
        self,
        nodes: str = "",
        owner: str = OWNER,
        failing: str = "",
        off: tuple[str, ...] = (),
        printed: dict[str, str] | None = None,
        missing: str = "",
    ) -> None:
        self.failing, self.off, self.missing = failing, off, missing
        self.printed = {
            **(printed or {}),
            "/etc/mlplatform/owner": f"{owner}\n",
            "get node": nodes,
            "token create": f"{TOKEN}\n",
        }
        self.commands: list[tuple[str, str]] = []
        self.inputs: list[tuple[str, str]] = []

    @contextmanager
    def connected(self, login: SshLogin) -> Iterator[Shell]:
        if login.name in self.off:
            raise UserError(f"{login.name}: no SSH")
        yield Shell(self, login.name)

    def named(self, part: str) -> list[str]:
        """Return the machines on which a command with that part has run."""
        return [machine for machine, command in self.commands if part in command]


class Shell:
    """A connection to one of the machines."""

    def __init__(self, recorder: Recorder, machine: str) -> None:
        self._recorder, self._machine = recorder, machine

    def run(self, command: str, stdin: str = "", seconds: float | None = None) -> CommandResult:
        recorder = self._recorder
        recorder.commands.append((self._machine, command))
        recorder.inputs.append((command, stdin))
        if recorder.failing and recorder.failing in f"{self._machine}: {command}":
            return CommandResult(1, "", "it failed")
        if "test -f" in command:
            missing = recorder.missing and recorder.missing in f"{self._machine}: {command}"
            return CommandResult(0, "no\n" if missing else "yes\n", "")
        if "join.sh" in command:
            assert f"{TOKEN} sha256:" in stdin
        printed = (text for part, text in recorder.printed.items() if part in f"{self._machine}: {command}")
        return CommandResult(0, next(printed, ""), "")


class LocalShell:
    """A shell of this computer whose program `sudo` has a text of the test."""

    def __init__(self, folder: Path, sudo: str) -> None:
        (folder / "sudo").write_text(f"#!/bin/sh\n{sudo}\n")
        (folder / "sudo").chmod(0o755)
        self._environment = {"PATH": f"{folder}:{os.environ['PATH']}"}

    def run(self, command: str) -> CommandResult:
        finished = subprocess.run(["sh", "-c", command], env=self._environment, capture_output=True, text=True)
        return CommandResult(finished.returncode, finished.stdout, finished.stderr)
