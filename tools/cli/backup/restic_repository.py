"""Repository of backups: encrypted snapshots of restic in a folder, on another computer or in an S3 bucket."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import chain, repeat
from pathlib import Path
from typing import Any

from settings.services.backup_settings import BackupSettings, SnapshotRetentionSettings
from tools.bootstrap.console import log_message
from tools.bootstrap.process import inherited_environment
from tools.bootstrap.restic_program import restic_cache, restic_program
from tools.cli.backup.errors import BackupError, RepositoryLocked
from tools.cli.backup.restic_failures import (
    ENVIRONMENT,
    RETRY,
    SETTINGS,
    AccessNames,
    failure_sentence,
    is_absent,
    is_final,
    is_locked,
    refused_login,
)

DATA = "data"
"""Tag of a snapshot with the files of a stack."""
STATE = "state"
"""Tag of a snapshot with Pulumi's state of a stack."""
IDENTITY = "identity="
"""Beginning of the tag of a snapshot with the identity of its stack."""
NO_IDENTITY = "none"
"""Identity of the snapshots of earlier versions."""
MINUTE = timedelta(minutes=1)
OPEN_SECONDS = 60
"""Time to open or create a repository. restic itself repeats a failed request for 15 minutes."""
OPEN_RETRIES = 4
"""Failed requests after which an address is called unreachable."""
LOCKED_SECONDS = 3600
"""Time to wait for the end of another program that uses the repository."""
FIRST_PAUSES, LAST_PAUSE = (1, 2, 4, 8, 15), 30
"""Seconds between two tries meanwhile."""


@dataclass(frozen=True)
class SavedStack:
    """A stack as the owner of snapshots: stacks of two persons may have one name, and never one identity.

    Args:
        name: the name of the stack.
        identity: its identity; None if it is not known.
    """

    name: str
    identity: str | None = None


@dataclass(frozen=True)
class Snapshot:
    """Snapshot of a stack. `part` is DATA or STATE."""

    id: str
    stack: str
    identity: str
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

    def identifier(self) -> str | None:
        """Return the id of the repository; None if the address certainly has none."""
        code, messages = self._try("cat", "config")
        if code and is_absent(messages):
            return None
        if code:
            raise self._error("cat", messages)
        return str(json.loads(self._output("cat", "config"))["id"])

    def create(self) -> None:
        """Create the repository."""
        self._require("init")

    def save_folder(self, folder: Path, stack: SavedStack) -> dict[str, Any]:
        """Save the files of a folder as a DATA snapshot and return restic's summary."""
        output = self._output("backup", "--json", "--quiet", *_owner(stack), "--tag", DATA, ".", cwd=folder)
        summary: dict[str, Any] = json.loads(output.strip().splitlines()[-1])
        return summary

    def save_state(self, text: str, stack: SavedStack) -> None:
        """Save a text as a STATE snapshot, without a file on this computer."""
        options = ("--tag", STATE, "--stdin", "--stdin-filename", f"{STATE}.json")
        self._output("backup", "--quiet", *_owner(stack), *options, stdin=text)

    def latest(self, stack: SavedStack, part: str, at: datetime | None = None) -> Snapshot:
        """Return the newest snapshot of a part of a stack, of the minute `at` or earlier.

        Snapshots without an identity are those of the stack if no others have its name.

        Raises:
            BackupError: it does not exist, or it is not certain which snapshots are those of the stack.
        """
        self._require("cat", "config")
        found = [each for each in self._snapshots() if each.part == part]
        named = [each for each in found if each.stack == stack.name]
        if not named:
            others = ", ".join(sorted({each.stack for each in found})) or "none"
            raise BackupError(
                f"{self.address} has no backup of the {part} of stack {stack.name}; it has those of: {others}"
            )
        in_time = [each for each in named if at is None or each.time < at.replace(second=0, microsecond=0) + MINUTE]
        if not in_time:
            raise BackupError(
                f"--at {at:%Y-%m-%dT%H:%M}: the first backup of the {part} of stack {stack.name} at {self.address} is "
                f"of {min(each.time for each in named):%Y-%m-%dT%H:%M} UTC; see them with ARGS=--list"
            )
        newest = {each.identity: each for each in sorted(in_time, key=lambda each: each.time)}
        if stack.identity in newest:
            return newest[stack.identity]
        if len(newest) == 1 and (stack.identity is None or NO_IDENTITY in newest):
            return next(iter(newest.values()))
        listed = ", ".join(f"{each.identity} (the last of {each.time:%Y-%m-%d %H:%M} UTC)" for each in newest.values())
        raise BackupError(
            f"{self.address} has backups of stacks with the name {stack.name} and these identities: {listed}. "
            "Choose one: `make restore` takes ARGS='--identity NAME', and other commands platform:backup_identity"
        )

    def newest(self, stack: SavedStack, part: str) -> Snapshot | None:
        """Return the newest snapshot of a part with the identity of a stack, None without one."""
        own = [each for each in self.snapshots(stack.name) if (each.identity, each.part) == (stack.identity, part)]
        return own[-1] if own else None

    def snapshots(self, name: str) -> list[Snapshot]:
        """Return the snapshots of the stacks with a name, the oldest first."""
        return sorted((each for each in self._snapshots() if each.stack == name), key=lambda each: each.time)

    def identities(self, name: str) -> set[str]:
        """Return the identities of the stacks with a name; NO_IDENTITY for snapshots of earlier versions."""
        return {each.identity for each in self.snapshots(name)}

    def restore(self, snapshot: Snapshot, folder: Path, *, only: Sequence[str] = ()) -> None:
        """Write the files of a DATA snapshot, or `only` these items of it, into a folder, and verify their content."""
        chosen = [word for name in only for word in ("--include", f"/{name}")]
        self._output("restore", snapshot.id, "--target", str(folder), "--verify", "--quiet", *chosen)

    def read_file(self, snapshot: Snapshot, name: str) -> str:
        """Return the text of a file of a snapshot."""
        return self._output("dump", snapshot.id, name)

    def delete_outdated(self, stack: SavedStack, keep: SnapshotRetentionSettings) -> None:
        """Delete the snapshots with the identity of a stack that no rule keeps, and the data that only they need.

        Raises:
            RepositoryLocked: another program used the repository all the time.
        """
        rules = [f"--keep-{name}={count}" for name, count in keep.model_dump().items() if count]
        self._output("forget", *_owner(stack), "--group-by", "host,tags", "--prune", "--quiet", *rules)

    def _snapshots(self) -> list[Snapshot]:
        listed = json.loads(self._output("snapshots", "--json") or "[]")
        return [
            Snapshot(each["id"], each["hostname"], _identity(each["tags"]), part, _utc(each["time"]))
            for each in listed or []
            for part in {DATA, STATE}.intersection(each.get("tags") or ())
        ]

    def _require(self, *arguments: str) -> None:
        code, messages = self._try(*arguments)
        if code:
            raise self._error(arguments[0], messages)

    def _try(self, *arguments: str) -> tuple[int, str]:
        """Run a short command of restic; return its exit code and its messages."""
        return self._repeat_while_locked(lambda: self._try_once(arguments))

    def _try_once(self, arguments: Sequence[str]) -> tuple[int, str]:
        """Run a short command of restic once.

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
        code, text = self._repeat_while_locked(lambda: self._output_once(arguments, cwd, stdin or ""))
        if code:
            raise self._error(arguments[0], text)
        return text

    def _output_once(self, arguments: Sequence[str], cwd: Path | None, stdin: str) -> tuple[int, str]:
        """Run a command of restic; return its exit code, and its output or the messages of its failure."""
        command: list[str | Path] = [self._program, *arguments]
        finished = subprocess.run(command, cwd=cwd, env=self._environment, input=stdin, capture_output=True, text=True)
        return finished.returncode, (finished.returncode and finished.stderr) or finished.stdout

    def _repeat_while_locked(self, run: Callable[[], tuple[int, str]]) -> tuple[int, str]:
        """Run a command until no other program locks the repository; return its exit code and its text.

        restic deletes outdated data only while no other restic uses the repository.
        """
        end = time.monotonic() + LOCKED_SECONDS
        pauses = chain(FIRST_PAUSES, repeat(LAST_PAUSE))
        while True:
            code, text = run()
            pause = next(pauses)
            if not (code and is_locked(text)) or time.monotonic() + pause > end:
                return code, text
            if pause == FIRST_PAUSES[0]:
                minutes = LOCKED_SECONDS // 60
                log_message(f"Another program uses the backups at {self.address}; waiting for {minutes} min at most")
            # A killed restic leaves its lock. `unlock` removes the locks of programs that have ended, and no others.
            self._output_once(["unlock"], None, "")
            time.sleep(pause)

    @property
    def _environment(self) -> Mapping[str, str]:
        own = {"RESTIC_REPOSITORY": self.address, "RESTIC_PROGRESS_FPS": "0", "RESTIC_CACHE_DIR": str(restic_cache())}
        return inherited_environment({**self.secrets, **own})

    def _error(self, command: str, messages: str) -> BackupError:
        kind = RepositoryLocked if is_locked(messages) else BackupError
        return kind(failure_sentence(self.address, self.names, command, messages))


def _owner(stack: SavedStack) -> tuple[str, ...]:
    """Return the options of restic for the snapshots of a stack."""
    assert stack.identity
    return ("--host", stack.name, "--tag", f"{IDENTITY}{stack.identity}")


def _utc(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def _identity(tags: Sequence[str]) -> str:
    return next((tag.removeprefix(IDENTITY) for tag in tags if tag.startswith(IDENTITY)), NO_IDENTITY)


def configured_repository(settings: BackupSettings) -> BackupRepository:
    """Return the repository of a stack's settings."""
    secrets = {"RESTIC_PASSWORD": settings.password.get_secret_value()}
    if settings.access_key and settings.secret_key:
        secrets |= {
            "AWS_ACCESS_KEY_ID": settings.access_key,
            "AWS_SECRET_ACCESS_KEY": settings.secret_key.get_secret_value(),
        }
    return BackupRepository(settings.target, secrets, SETTINGS)
