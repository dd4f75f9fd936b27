"""Run a Pulumi program as a child of the language host. Settings arrive as JSON on standard input."""

from __future__ import annotations

import asyncio
import json
import logging
import runpy
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

import pulumi
import pulumi.runtime

REPORTED = 32
"""Exit code of a program that has logged its error."""


def main() -> int:
    """Run the program; return its exit code."""
    settings = json.load(sys.stdin)
    program = Path(settings["program"]).resolve()
    pulumi.runtime.set_all_config(settings["config"], settings["secret_keys"])
    pulumi.runtime.configure(pulumi.runtime.Settings(**settings["runtime"]))
    # A failed program leaves unfinished resources; asyncio's log of them is noise.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    sys.argv = [str(program)]
    sys.path.insert(0, str(program if program.is_dir() else program.parent))
    try:
        asyncio.run(_run(program, settings["runtime"]["parallel"]))
    except pulumi.RunError as error:
        pulumi.log.error(str(error))
        return REPORTED
    except Exception as error:
        program_trace = _from_program(error.__traceback__, program)
        lines = traceback.format_exception(error.with_traceback(program_trace))
        pulumi.log.error("Program failed with an unhandled exception:\n" + "".join(lines))
        return REPORTED
    return 0


async def _run(program: Path, parallel: int) -> None:
    # Each registration of a resource blocks a thread.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(max_workers=4 * max(parallel, 1)))

    def run() -> None:
        runpy.run_path(str(program), run_name="__main__")

    await pulumi.runtime.run_in_stack(run)


def _from_program(trace: TracebackType | None, program: Path) -> TracebackType | None:
    """Return the part of the traceback from the program's first frame on, or all of it without such a frame."""
    folder = program if program.is_dir() else program.parent
    step = trace
    while step:
        file = Path(step.tb_frame.f_code.co_filename)
        if file.is_relative_to(folder) and not file.is_relative_to(sys.prefix) and file != Path(__file__):
            return step
        step = step.tb_next
    return trace


if __name__ == "__main__":
    sys.exit(main())
