"""A background program with all its child processes, recorded in a file so that later processes can stop it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tools.bootstrap.process import has_start_time, start_time

STOP_SECONDS = 10


@dataclass(frozen=True)
class ProcessGroup:
    """A session of at most one running program, recorded in the file `record` by process id and start time."""

    record: Path

    def start(
        self,
        command: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        log: Path,
        stdin: int = subprocess.DEVNULL,
        digest: str = "",
    ) -> subprocess.Popen[bytes]:
        """Start `command` with its output in the file `log`, after stopping the program that the record names.

        An `up` that was killed may have started programs that are missing from the stack's state. `digest` is that of
        the program's settings, for `runs`.
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
        started = start_time(psutil.Process(process.pid))
        self.record.touch(mode=0o600)
        self.record.write_text(json.dumps({"pid": process.pid, "started": started, "digest": digest}))
        return process

    def runs(self, digest: str) -> bool:
        """Return True if the recorded program runs with these settings. Older programs recorded no digest."""
        return self.leader() is not None and self._recorded().get("digest", digest) == digest

    def leader(self) -> psutil.Process | None:
        """Return the recorded program, None if it has ended."""
        pid = self._recorded()["pid"]
        return next((member for member in self._members() if member.pid == pid), None)

    def stop(self) -> None:
        """End the whole session: terminate its leader, then kill the processes that remain."""
        if leader := self.leader():
            with suppress(psutil.NoSuchProcess):  # it may have ended by itself, as may the others
                leader.terminate()
            psutil.wait_procs([leader], timeout=STOP_SECONDS)
        survivors = self._members()
        for survivor in survivors:
            with suppress(psutil.NoSuchProcess):
                survivor.kill()
        psutil.wait_procs(survivors, timeout=STOP_SECONDS)
        self.record.unlink(missing_ok=True)

    def listens(self, port: int) -> bool:
        """Return True if a process of the session listens on the port."""
        for member in self._members():
            with suppress(psutil.Error):
                connections = member.net_connections("tcp")
                if any(each.status == psutil.CONN_LISTEN and each.laddr.port == port for each in connections):
                    return True
        return False

    def suspend(self, log: Path) -> Callable[[], object]:
        """Stop the running program, and return a function that starts it again with its output in the file `log`."""
        leader, digest = self.leader(), self._recorded().get("digest", "")
        if leader is None:
            self.stop()
            return lambda: None
        command, cwd, env = leader.cmdline(), Path(leader.cwd()), leader.environ()
        self.stop()
        return lambda: self.start(command, cwd=cwd, env=env, log=log, digest=digest)

    def _recorded(self) -> dict[str, Any]:
        try:
            return dict(json.loads(self.record.read_text()))
        except (FileNotFoundError, ValueError):
            return {"pid": 0, "started": 0.0}

    def _members(self) -> list[psutil.Process]:
        """Return the processes of the recorded session, whose leader may have ended before its children."""
        recorded = self._recorded()
        pid, started = recorded["pid"], recorded["started"]
        members = []
        for process in psutil.process_iter() if pid else ():
            try:
                if os.getsid(process.pid) != pid or process.status() == psutil.STATUS_ZOMBIE:
                    continue
                if process.pid == pid and not has_start_time(process, started):
                    return []  # the process id now belongs to another program
                members.append(process)
            except (psutil.Error, FileNotFoundError, ProcessLookupError, PermissionError):
                continue
        return members
