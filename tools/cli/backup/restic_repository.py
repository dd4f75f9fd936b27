"""Repository of backups: encrypted snapshots of restic in a folder, on another computer or in an S3 bucket."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from settings.services.backup_settings import BackupSettings, SnapshotRetentionSettings
from tools.bootstrap.process import inherited_environment
from tools.bootstrap.restic_program import restic_program
from tools.cli.backup.errors import BackupError
from tools.cli.backup.restic_failures import (
    ENVIRONMENT,
    RETRY,
    SETTINGS,
    AccessNames,
    failure_sentence,
    is_absent,
    is_final,
    refused_login,
)

DATA = "data"
"""Tag of a snapshot with the files of a stack."""
STATE = "state"
"""Tag of a snapshot with Pulumi's state of a stack."""
OPEN_SECONDS = 60
"""Time to open or create a repository. restic itself repeats a failed request for 15 minutes."""
OPEN_RETRIES = 4
"""Failed requests after which an address is called unreachable."""


@dataclass(frozen=True)
class Snapshot:
    """Snapshot of a stack. `part` is DATA or STATE."""

    id: str
    stack: str
    part: str
    time: datetime


@dataclass(frozen=True)
class BackupRepository:
    """Repository of restic at `address`.

    Args:
        address: the address in restic's notation.
        secrets: environment variables with its password and login.
        names: the names that errors have for these values.
    """

    address: str
    secrets: Mapping[str, str]
    names: AccessNames = ENVIRONMENT

    @cached_property
    def _program(self) -> Path:
        return restic_program()

    def create_if_missing(self) -> None:
        """Create the repository unless it exists; only an address that certainly has none gets one."""
        code, messages = self._try("cat", "config")
        if code and not is_absent(messages):
            raise self._error("cat", messages)
        if code:
            self._require("init")

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
        self._require("cat", "config")
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
        # A killed backup leaves its lock. `unlock` removes the locks of programs that have ended, and no others.
        self._output("unlock")
        rules = [f"--keep-{name}={count}" for name, count in keep.model_dump().items() if count]
        self._output("forget", "--host", stack, "--group-by", "host,tags", "--prune", "--quiet", *rules)

    def _snapshots(self) -> list[Snapshot]:
        listed = json.loads(self._output("snapshots", "--json") or "[]")
        return [
            Snapshot(each["id"], each["hostname"], each["tags"][0], datetime.fromisoformat(each["time"]))
            for each in listed or []
            if each.get("tags")
        ]

    def _require(self, *arguments: str) -> None:
        code, messages = self._try(*arguments)
        if code:
            raise self._error(arguments[0], messages)

    def _try(self, *arguments: str) -> tuple[int, str]:
        """Run a short command of restic; return its exit code and its messages.

        restic is stopped as soon as its messages show that it will not succeed.
        """
        if self.address.startswith("sftp:") and (refused := refused_login(self.address)):
            return 1, refused
        lines: list[str] = []
        late = threading.Event()
        with subprocess.Popen(
            [self._program, *arguments],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:

            def stop() -> None:
                late.set()
                process.terminate()

            timer = threading.Timer(OPEN_SECONDS, stop)
            timer.start()
            assert process.stderr is not None
            try:
                for line in process.stderr:
                    lines.append(line)
                    if RETRY.search(line) and (is_final(line) or len(lines) >= OPEN_RETRIES):
                        process.terminate()
            finally:
                timer.cancel()
        if late.is_set() and not any(map(RETRY.search, lines)):
            return process.returncode, f"no answer within {OPEN_SECONDS} seconds"
        return process.returncode, "".join(lines)

    def _output(self, *arguments: str, cwd: Path | None = None, stdin: str | None = None) -> str:
        finished = subprocess.run(
            [self._program, *arguments],
            cwd=cwd,
            env=self._environment,
            input=stdin or "",
            capture_output=True,
            text=True,
        )
        if finished.returncode:
            raise self._error(arguments[0], finished.stderr or finished.stdout)
        return finished.stdout

    @property
    def _environment(self) -> Mapping[str, str]:
        own = {"RESTIC_REPOSITORY": self.address, "RESTIC_PROGRESS_FPS": "0"}
        return inherited_environment({**self.secrets, **own})

    def _error(self, command: str, messages: str) -> BackupError:
        return BackupError(failure_sentence(self.address, self.names, command, messages))


def configured_repository(settings: BackupSettings) -> BackupRepository:
    """Return the repository of a stack's settings."""
    secrets = {"RESTIC_PASSWORD": settings.password.get_secret_value()}
    if settings.access_key and settings.secret_key:
        secrets |= {
            "AWS_ACCESS_KEY_ID": settings.access_key,
            "AWS_SECRET_ACCESS_KEY": settings.secret_key.get_secret_value(),
        }
    return BackupRepository(settings.target, secrets, SETTINGS)
