"""Scripts that run on machines as root. Each is safe to run twice, and its head says what it reads."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path


def text(script: str) -> str:
    """A script of this folder."""
    return (Path(__file__).resolve().parent / script).read_text()


def command_line(script: str, environment: Mapping[str, str]) -> str:
    """A command line that runs a script as root with these variables; its standard input is the script's."""
    assignments = [f"{key}={shlex.quote(value)}" for key, value in environment.items()]
    return " ".join(["sudo --non-interactive env", *assignments, "bash -c", shlex.quote(text(script))])
