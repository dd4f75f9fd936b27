"""Seconds of a `pulumi up` without changes: this program compared with an empty program."""

from __future__ import annotations

import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from settings.paths import PROJECT
from tools.bootstrap.console import Unavailable
from tools.cli.pulumi_command import Pulumi, PulumiError

UP = ("up", "--yes", "--skip-preview", "--non-interactive")
REPEATS = 3


class NotMeasured(Unavailable):
    """An error for a stack that cannot be measured; the message has the reason."""


@dataclass(frozen=True)
class Machinery:
    """Seconds of an `up` without changes, each the median of three."""

    stack: str
    stack_seconds: float
    empty_seconds: float


def measure(pulumi: Pulumi, up: bool) -> Machinery:
    """Measure a stack; `up` is True if the stack is up.

    Raises:
        NotMeasured: the stack is not up, an `up` would change it or fails, or its state is not kept on this computer.
    """
    if pulumi.backend.directory is None:
        raise NotMeasured("the state of stacks is kept elsewhere, and the network would be measured")
    if not up:
        raise NotMeasured(f"the stack {pulumi.stack} is not up: `make up` first")
    try:
        pulumi.output("preview", "--expect-no-changes", "--non-interactive")
    except PulumiError:
        raise NotMeasured(f"an `up` would change the stack {pulumi.stack}: `make up` first") from None
    of_stack = _seconds(PROJECT, pulumi.stack, pulumi.environment)
    return Machinery(pulumi.stack, of_stack, _empty_seconds(pulumi.environment))


def _empty_seconds(environment: Mapping[str, str]) -> float:
    with tempfile.TemporaryDirectory() as name:
        program, state = Path(name) / "program", Path(name) / "state"
        program.mkdir()
        state.mkdir()
        (program / ".venv").symlink_to((PROJECT / ".venv").resolve())
        runtime = {"name": "python", "options": {"virtualenv": ".venv"}}
        (program / "Pulumi.yaml").write_text(json.dumps({"name": "empty", "runtime": runtime}))
        (program / "__main__.py").write_text("import pulumi\n")
        own = {**environment, "PULUMI_BACKEND_URL": f"file://{state}"}
        _pulumi(program, own, "stack", "init", "empty")
        _pulumi(program, own, *UP, "--stack", "empty")
        return _seconds(program, "empty", own)


def _seconds(program: Path, stack: str, environment: Mapping[str, str]) -> float:
    took = []
    for _ in range(REPEATS):
        start = time.monotonic()
        _pulumi(program, environment, *UP, "--stack", stack)
        took.append(time.monotonic() - start)
    return statistics.median(took)


def _pulumi(program: Path, environment: Mapping[str, str], *arguments: str) -> None:
    finished = subprocess.run(["pulumi", *arguments], cwd=program, env=environment, capture_output=True, text=True)
    if finished.returncode:
        raise NotMeasured(f"`pulumi {' '.join(arguments)}` failed: {finished.stderr[-500:].strip()}")
