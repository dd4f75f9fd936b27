"""Scripts that run on machines as root. Each is safe to run twice, and its head says what it reads.

Two never run at once on a machine: one that goes on after its `up` was killed is waited for.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

ALONE = """
if [ "$EUID" = 0 ]; then
  exec 9>/run/mlplatform.lock
  flock --timeout 900 9 || { echo "another script of this program has been running here for 15 minutes" >&2; exit 1; }
fi
"""


def text(script: str) -> str:
    """A script of this folder."""
    return (Path(__file__).resolve().parent / script).read_text()


def command_line(script: str, environment: Mapping[str, str], sudo: bool = True) -> str:
    """The command line for a script with these variables; the script itself goes to its standard input.

    So errors, which quote the command line, stay readable.
    """
    assignments = [f"{key}={shlex.quote(value)}" for key, value in environment.items()]
    return " ".join([*(["sudo --non-interactive"] if sudo else []), "env", *assignments, "bash -s", script])


def standard_input(script: str, content: str = "") -> str:
    """The script, followed by what it reads itself: as a function, bash has read it whole before it begins."""
    return f"script() {{\n{text(script)}\n}}{ALONE}script; exit\n{content}"
