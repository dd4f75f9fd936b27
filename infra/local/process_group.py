"""A program in a session of its own, with all that it starts, found again after whoever started it has ended."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

STOP_SECONDS = 10


@dataclass(frozen=True)
class ProcessGroup:
    """At most one running program, recorded in the file `record` by process number and start time."""

    record: Path

    def start(
        self,
        command: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        log: Path,
        stdin: int = subprocess.DEVNULL,
    ) -> subprocess.Popen[bytes]:
        """Start `command` with its output in the file `log`, after ending what the record still names.

        An `up` that was killed leaves its programs behind without having told the stack's state about them.
        """
        self.stop()
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                cwd=cwd,
                env=env,
                stdin=stdin,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.record.write_text(json.dumps({"pid": process.pid, "started": psutil.Process(process.pid).create_time()}))
        return process

    def leader(self) -> psutil.Process | None:
        """The recorded program, if it still runs."""
        pid, _ = self._recorded()
        return next((member for member in self._members() if member.pid == pid), None)

    def stop(self) -> None:
        """End the whole session: politely by its leader, then not."""
        if leader := self.leader():
            with suppress(psutil.NoSuchProcess):  # it may end by itself meanwhile, as may the others
                leader.terminate()
            psutil.wait_procs([leader], timeout=STOP_SECONDS)
        survivors = self._members()
        for survivor in survivors:
            with suppress(psutil.NoSuchProcess):
                survivor.kill()
        psutil.wait_procs(survivors, timeout=STOP_SECONDS)
        self.record.unlink(missing_ok=True)

    def _recorded(self) -> tuple[int, float]:
        try:
            record = json.loads(self.record.read_text())
            return record["pid"], record["started"]
        except (FileNotFoundError, ValueError):
            return 0, 0.0

    def _members(self) -> list[psutil.Process]:
        """What runs in the recorded session, whose leader may have died before its children."""
        pid, started = self._recorded()
        members = []
        for process in psutil.process_iter() if pid else ():
            try:
                if os.getsid(process.pid) != pid or process.status() == psutil.STATUS_ZOMBIE:
                    continue
                if process.pid == pid and abs(process.create_time() - started) > 1:
                    return []  # the number was given to another program since
                members.append(process)
            except (psutil.Error, ProcessLookupError, PermissionError):
                continue
        return members


def inherited_environment() -> dict[str, str]:
    """This process's environment without Pulumi's own variables: a workload has no business with its passphrase."""
    return {key: value for key, value in os.environ.items() if not key.startswith("PULUMI_")}
