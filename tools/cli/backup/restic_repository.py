"""Repository of backups: encrypted snapshots of restic in a folder, on another computer or in an S3 bucket."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from settings.services.backup_settings import BackupSettings, SnapshotRetentionSettings
from tools.bootstrap.restic_program import restic_program
from tools.cli.backup.errors import BackupError

DATA = "data"
"""Tag of a snapshot with the files of a stack."""
STATE = "state"
"""Tag of a snapshot with Pulumi's state of a stack."""
ABSENT = ("Is there a repository at the following location?", "repository does not exist", "unable to open config file")
"""Messages of restic for an address without a repository; they differ between its versions."""
WRONG_PASSWORD = "wrong password or no key found"


@dataclass(frozen=True)
class Snapshot:
    """Snapshot of a stack. `part` is DATA or STATE."""

    id: str
    stack: str
    part: str
    time: datetime


@dataclass(frozen=True)
class BackupRepository:
    """Repository of restic at `address`; `secrets` are environment variables with its password and login."""

    address: str
    secrets: Mapping[str, str]

    @cached_property
    def _program(self) -> Path:
        return restic_program()

    def create_if_missing(self) -> None:
        """Create the repository unless it exists; only an address that certainly has none gets one."""
        finished = self._run("cat", "config")
        if finished.returncode == 0:
            return
        if WRONG_PASSWORD in finished.stderr or not any(text in finished.stderr for text in ABSENT):
            raise self._error("cat config", finished)
        self._output("init")

    def save_folder(self, folder: Path, stack: str) -> dict[str, Any]:
        """Save the files of a folder as a DATA snapshot and return restic's summary."""
        options = ("backup", "--json", "--quiet", "--host", stack, "--tag", DATA, ".")
        output = self._output(*options, cwd=folder)
        summary: dict[str, Any] = json.loads(output.strip().splitlines()[-1])
        return summary

    def save_state(self, text: str, stack: str) -> None:
        """Save a text as a STATE snapshot, without a file on this computer."""
        options = ("backup", "--quiet", "--host", stack, "--tag", STATE, "--stdin", "--stdin-filename", f"{STATE}.json")
        self._output(*options, stdin=text)

    def latest(self, stack: str, part: str) -> Snapshot:
        """Return the newest snapshot of a part of a stack.

        Raises:
            BackupError: it does not exist; the message lists the stacks that have snapshots.
        """
        found = [each for each in self._snapshots() if each.part == part]
        own = [each for each in found if each.stack == stack]
        if not own:
            others = ", ".join(sorted({each.stack for each in found})) or "none"
            raise BackupError(f"{self.address} has no backup of the {part} of stack {stack}; it has those of: {others}")
        return max(own, key=lambda each: each.time)

    def restore(self, snapshot: Snapshot, folder: Path, *, only: str | None = None) -> None:
        """Write the files of a DATA snapshot, or `only` one folder of it, into a folder, and verify their content."""
        chosen = ("--include", f"/{only}") if only else ()
        self._output("restore", snapshot.id, "--target", str(folder), "--verify", "--quiet", *chosen)

    def read_file(self, snapshot: Snapshot, name: str) -> str:
        """Return the text of a file of a snapshot."""
        return self._output("dump", snapshot.id, name)

    def delete_outdated(self, stack: str, keep: SnapshotRetentionSettings) -> None:
        """Delete the snapshots of a stack that no rule keeps, and the data that only they need."""
        rules = [f"--keep-{name}={count}" for name, count in keep.model_dump().items() if count]
        self._output("forget", "--host", stack, "--group-by", "host,tags", "--prune", "--quiet", *rules)

    def _snapshots(self) -> list[Snapshot]:
        listed = json.loads(self._output("snapshots", "--json") or "[]")
        return [
            Snapshot(each["id"], each["hostname"], each["tags"][0], datetime.fromisoformat(each["time"]))
            for each in listed or []
            if each.get("tags")
        ]

    def _output(self, *arguments: str, cwd: Path | None = None, stdin: str | None = None) -> str:
        finished = self._run(*arguments, cwd=cwd, stdin=stdin)
        if finished.returncode:
            raise self._error(arguments[0], finished)
        return finished.stdout

    def _run(
        self, *arguments: str, cwd: Path | None = None, stdin: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        environment = os.environ | self.secrets | {"RESTIC_REPOSITORY": self.address, "RESTIC_PROGRESS_FPS": "0"}
        return subprocess.run(
            [self._program, *arguments], cwd=cwd, env=environment, input=stdin or "", capture_output=True, text=True
        )

    def _error(self, command: str, finished: subprocess.CompletedProcess[str]) -> BackupError:
        message = (finished.stderr or finished.stdout).strip().removeprefix("Fatal: ")
        if WRONG_PASSWORD in message:
            return BackupError(f"the password does not open the backups at {self.address}")
        return BackupError(f"`restic {command}` on {self.address} failed: {message}")


def configured_repository(settings: BackupSettings) -> BackupRepository:
    """Return the repository of a stack's settings."""
    secrets = {"RESTIC_PASSWORD": settings.password.get_secret_value()}
    if settings.access_key and settings.secret_key:
        secrets |= {
            "AWS_ACCESS_KEY_ID": settings.access_key,
            "AWS_SECRET_ACCESS_KEY": settings.secret_key.get_secret_value(),
        }
    return BackupRepository(settings.target, secrets)
