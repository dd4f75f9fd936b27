"""Run programs, with their output in a log file or as a string.

`run` hands over each line of output at once, which `tools.bootstrap.console.run` does not: builds show their progress.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from airgap.bundle.errors import BundleError

SHOWN_LINES = 15
LONGEST_MESSAGE = 1500


def run(
    command: Sequence[str | Path],
    *,
    log: Path,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    each_line: Callable[[str], None] = lambda line: None,
) -> None:
    """Run a program, append its output to `log`, and call `each_line` with every line.

    Raises:
        BundleError: the program did not start or failed; with the last lines of its output.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    last: list[str] = []
    with log.open("a") as output:
        output.write(f"$ {' '.join(map(str, command))}\n")
        output.flush()
        try:
            process = subprocess.Popen(
                list(map(str, command)),
                cwd=cwd,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
            )
        except OSError as error:
            raise BundleError(f"{command[0]} could not be started: {error.strerror}") from None
        with process:
            assert process.stdout is not None
            for line in process.stdout:
                output.write(line)
                each_line(line.rstrip())
                last = [*last[1 - SHOWN_LINES :], line.rstrip()]
    if process.returncode:
        shown = "\n".join(f"  {line}" for line in last)
        words = " ".join(str(word) for word in command[:3])
        raise BundleError(f"`{words} ...` failed with exit code {process.returncode}. The end of {log}:\n{shown}")


def output_of(command: Sequence[str | Path], *, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> str:
    """Return the standard output of a program.

    Raises:
        BundleError: the program did not start or failed; with its standard error.
    """
    try:
        finished = subprocess.run(
            list(map(str, command)), cwd=cwd, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
    except OSError as error:
        raise BundleError(f"{command[0]} could not be started: {error.strerror}") from None
    if finished.returncode:
        message = (finished.stderr or finished.stdout).strip()[-LONGEST_MESSAGE:]
        raise BundleError(f"`{' '.join(str(word) for word in command[:3])} ...` failed: {message}")
    return finished.stdout
