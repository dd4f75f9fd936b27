"""Programs, run with their output in a log file or returned as text, and their environment."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from tools.bootstrap.console import SetupError

SHOWN_LINES = 15
SHOWN_WORDS = 4
SHOWN_CHARACTERS = 1500
CLOCK_TOLERANCE_SECONDS = 1
FOLDER_PREFIX = "mlplatform-command-"
OTHER_LOGINS = frozenset(
    {"AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN", "AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"}
)
"""Variables of the user that clients of S3 would combine with the keys of another store."""


class Startable(Protocol):
    """A process of psutil."""

    @property
    def pid(self) -> int:
        """Return the process id."""

    def create_time(self) -> float:
        """Return the time of day at its start, in seconds since 1970."""


def start_time(process: Startable) -> float:
    """Return a number that differs between a process and a later one with the same process id.

    On Linux, it is the time since boot in clock ticks: psutil's time of day moves when the clock is set.
    """
    stat = Path(f"/proc/{process.pid}/stat")
    # The name of the program, in brackets, may contain spaces.
    return float(stat.read_text().rpartition(")")[2].split()[19]) if stat.exists() else process.create_time()


def has_start_time(process: Startable, recorded: float) -> bool:
    """Return True if the process started at the recorded time.

    Args:
        process: a process that exists.
        recorded: a result of `start_time`, or the time of day that older versions of this program recorded.
    """
    # Ticks since boot reach the seconds since 1970 after half a year, and then the process id would have to match, too.
    return recorded == start_time(process) or abs(recorded - process.create_time()) <= CLOCK_TOLERANCE_SECONDS


class CommandError(SetupError):
    """A program that could not be started or returned an exit code other than 0."""


def run_visible(
    command: Sequence[str | Path],
    *,
    log: Path,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    on_line: Callable[[str], None] = lambda line: None,
) -> None:
    """Run a program and append its output to a log file.

    Args:
        command: the program and its arguments.
        log: the file; it is created with its folder.
        cwd: the working directory.
        env: the whole environment; that of this process where it is None.
        on_line: a function to call with each line of output.

    Raises:
        CommandError: The program did not start or failed; the message ends with the last lines of its output.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    last: deque[str] = deque(maxlen=SHOWN_LINES)
    with log.open("a") as file:
        print("$", *command, file=file, flush=True)
        with start_piped(command, cwd=cwd, env=env) as process:
            assert process.stdout is not None
            for line in process.stdout:
                file.write(line)
                file.flush()
                last.append(line.rstrip())
                on_line(line.rstrip())
    if process.returncode:
        lines = "\n".join(f"  {line}" for line in last)
        raise CommandError(
            f"`{_shortened(command)}` returned exit code {process.returncode}; see {log}, which ends with:\n{lines}"
        )


def start_piped(
    command: Sequence[str | Path], *, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    """Start a program without input and return it; its standard output and error are one pipe of text.

    Raises:
        CommandError: The program did not start.
    """
    try:
        return subprocess.Popen(
            command,
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
    except OSError as error:
        raise CommandError(f"{command[0]} could not be started: {error.strerror}") from None


def capture(
    command: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float | None = None,
) -> str:
    """Run a program and return its standard output.

    Args:
        command: the program and its arguments.
        cwd: the working directory.
        env: the whole environment; that of this process where it is None.
        timeout: seconds until the program is killed.

    Raises:
        CommandError: The program did not start, timed out or failed; the message ends with its standard error.
    """
    try:
        finished = subprocess.run(
            command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout
        )
    except OSError as error:
        raise CommandError(f"{command[0]} could not be started: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise CommandError(f"`{_shortened(command)}` did not end within {timeout} s") from None
    if finished.returncode:
        output = (finished.stderr or finished.stdout).strip()[-SHOWN_CHARACTERS:]
        raise CommandError(f"`{_shortened(command)}` returned exit code {finished.returncode}: {output}")
    return finished.stdout


def _shortened(command: Sequence[str | Path]) -> str:
    """Return the first words of a command line."""
    words = " ".join(str(word) for word in command[:SHOWN_WORDS])
    return words if len(command) <= SHOWN_WORDS else f"{words} ..."


@contextmanager
def temporary_folder() -> Iterator[dict[str, str]]:
    """Yield the variable of a folder for temporary files, and delete the folder after the block.

    Pulumi's Kubernetes plugin writes the administrator's kubeconfig to a temporary file in each command. It never
    deletes that file.
    """
    with tempfile.TemporaryDirectory(prefix=FOLDER_PREFIX, ignore_cleanup_errors=True) as folder:
        yield {"TMPDIR": folder}


def inherited_environment(added: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return this process's environment for a program that may run longer than the command of Pulumi.

    Pulumi's variables are missing: workloads must not read its passphrase. The folder of `temporary_folder` is
    replaced by the folder that contains it.

    Args:
        added: further variables. With the keys of an S3 store, the variables of `OTHER_LOGINS` are missing.
    """
    added = added or {}
    left_out = OTHER_LOGINS if "AWS_ACCESS_KEY_ID" in added else frozenset()
    environment = {
        key: value for key, value in os.environ.items() if key not in left_out and not key.startswith("PULUMI_")
    }
    folder = Path(environment.get("TMPDIR", ""))
    if folder.name.startswith(FOLDER_PREFIX):
        environment["TMPDIR"] = str(folder.parent)
    return {**environment, **added}
