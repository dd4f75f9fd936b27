"""Processor time of a preview by the number of pipelines: `python -m tests.bench.growth [NUMBER ...]`.

The stack is new and each pipeline has one step. The last column is the time of one more pipeline, compared with that
between the first two numbers: 1.0 means that the time grows in proportion to the number.
"""

from __future__ import annotations

import os
import resource
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.harness import Stack, copy_of_checkout, temporary_stacks
from tools.cli.previews.preview import LINEAR

NUMBERS = (1, 100, 300, 1000)
SETTINGS: dict[str, Any] = {"infra:machines": "none", "infra:cluster": "none", "platform:pipelines": "embedded"}


def main() -> int:
    """Measure and print a table."""
    os.environ |= LINEAR
    numbers = [int(argument) for argument in sys.argv[1:]] or list(NUMBERS)
    with tempfile.TemporaryDirectory() as folder:
        project = copy_of_checkout(Path(folder, "checkout"))
        _write_pipelines(project, max(numbers))
        with temporary_stacks(project) as create:
            stack = create("growth", Path(folder, "growth"), SETTINGS, up_seconds=3600)
            print(f"{'pipelines':>9}  {'CPU seconds':>11}  {'ms a pipeline':>13}  ratio")
            seconds: list[float] = []
            for number in numbers:
                seconds.append(_preview(stack, number))
                print(_row(numbers[: len(seconds)], seconds), flush=True)
    return 0


def _write_pipelines(project: Path, number: int) -> None:
    """Write pipelines with different names and equal contents."""
    pipelines = project / "workloads" / "pipelines"
    text = (pipelines / "smoke_test.py").read_text()
    for index in range(number):
        (pipelines / f"growth_{index}.py").write_text(
            text.replace("smoke-test", f"growth-{index}").replace("smoke_test", f"growth_{index}")
        )


def _preview(stack: Stack, number: int) -> float:
    """Return the processor time of one preview with all programs that it starts, in seconds."""
    stack.settings["workloads:pipelines"] = {f"growth-{index}": {} for index in range(number)}
    before = _processor_seconds()
    code, output = stack.pulumi("preview")
    assert code == 0, output
    return _processor_seconds() - before


def _processor_seconds() -> float:
    """Return the processor time of all ended child processes."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _row(numbers: list[int], seconds: list[float]) -> str:
    """Return a line of the table for the last number."""
    slopes = [
        (later - earlier) / (more - fewer)
        for fewer, more, earlier, later in zip(numbers, numbers[1:], seconds, seconds[1:], strict=False)
    ]
    change = f"{slopes[-1] * 1000:13.1f}  {slopes[-1] / slopes[0]:.2f}" if slopes else ""
    return f"{numbers[-1]:9}  {seconds[-1]:11.1f}  {change}"


if __name__ == "__main__":
    sys.exit(main())
