"""Waiting for a condition that another process fulfils, and what processes run."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psutil


def until(condition: Callable[[], Any], seconds: float = 120, what: str = "it") -> Any:
    """Call the condition until it returns a true value, and return that value."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds} s"
        time.sleep(0.05)
    return result


def child_commands(pid: int) -> dict[int, list[str]]:
    """Return the command lines of all processes below a process by id, without those that end meanwhile."""
    commands = {}
    for child in psutil.Process(pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            commands[child.pid] = child.cmdline()
    return commands
