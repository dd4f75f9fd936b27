"""Programs of this computer that run to their end."""

from __future__ import annotations

import subprocess
from contextlib import nullcontext
from pathlib import Path

from infra.errors import UserError

SHOWN_CHARACTERS = 600


def run_program(*command: str | Path, check: bool = True, log: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a program without standard input, and return its exit code and output.

    Args:
        command: the program and its arguments.
        check: raise an error if the exit code is not 0.
        log: file for the output instead, for programs whose children keep the output open.

    Raises:
        UserError: with `check`, the exit code is not 0; with the end of the program's output.
    """
    words = [str(word) for word in command]
    with log.open("wb") if log else nullcontext(subprocess.PIPE) as output:
        result = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=output, stderr=output, text=True)
    if check and result.returncode:
        text = ((result.stderr or "") + (result.stdout or "")).strip()[-SHOWN_CHARACTERS:]
        raise UserError(f"`{' '.join(words)}` failed: {text}")
    return result
