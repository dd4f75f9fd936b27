"""How a bootstrap says what it does, and runs other programs."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

SHOWN_LINES = 15


class BootstrapError(Exception):
    """A step failed; the message says what to do about it."""


class Unavailable(BootstrapError):
    """One way to a tool is closed here; there is another."""


def say(text: str, end: str = "\n") -> None:
    """Tell the user. On standard error, as standard output may belong to a program (`make outputs`, `make env`)."""
    print(text, end=end, file=sys.stderr, flush=True)


@contextmanager
def step(what: str) -> Iterator[None]:
    """Say what is being done, and when it is done how long it took, on one line."""
    say(f"{what} ...", end=" ")
    start = time.monotonic()
    try:
        yield
    except Unavailable as error:
        say(f"not possible here: {error}")
        raise
    except BaseException:
        say(f"failed after {time.monotonic() - start:.0f} s")
        raise
    say(f"{time.monotonic() - start:.1f} s")


def run(
    command: Sequence[str | Path], *, log: Path, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> None:
    """Run a program with its output in the file `log`.

    Raises:
        BootstrapError: it did not start, or it failed; with the last lines of its output.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as output:
        try:
            code = subprocess.run(
                command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            ).returncode
        except OSError as error:
            raise BootstrapError(f"{command[0]} could not be started: {error.strerror}") from None
    if code:
        lines = "\n".join(f"  {line}" for line in log.read_text(errors="replace").splitlines()[-SHOWN_LINES:])
        words = " ".join(str(word) for word in command[:4])
        raise BootstrapError(f"`{words} ...` ended with exit code {code}; see {log}, which ends with:\n{lines}")
