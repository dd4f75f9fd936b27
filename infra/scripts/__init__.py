"""Scripts that run on machines as root. Each is safe to run twice, and its head says what it reads."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path


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
    return f"script() {{\n{text(script)}\n}}\nscript; exit\n{content}"
