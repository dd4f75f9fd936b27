"""Program that runs one compiled pipeline: `python -m workloads.engines.kfp_runner <run folder>`.

It uses kfp's local runner. The folder contains `package.yaml` and `arguments.json`. The log goes to standard output. At
the end of the run the program writes `result.json` into the folder:

    {"state": "SUCCEEDED" | "FAILED", "outputs": {name: value},
     "failed_step": name | null, "error": last lines of its log,
     "steps": [{"name", "state", "seconds", "parameters": {output name: value},
                "artifacts": [{"name", "type", "uri", "metadata"}]}]}

The exit code is 0 for SUCCEEDED. If standard input is a pipe, the run stops when the other end of the pipe closes.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shlex
import shutil
import signal
import stat
import sys
import threading
import time
import traceback
from collections import deque
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TextIO

import yaml

from workloads.engines.base import RunState, StepState

COLOUR = re.compile(r"\x1b\[[0-9;]*m")
STARTED = re.compile(r"\d\d:\d\d:\d\d\.\d{3} - INFO - Executing task '(.+)'$")
FINISHED = re.compile(r"\d\d:\d\d:\d\d\.\d{3} - (?:INFO|ERROR) - Task '(.+)' finished with status (SUCCESS|FAILURE)$")
STEP_INDENT = "    "
EXECUTOR_PREFIX = "[KFP Executor "
INPUT_DUMP = "Got executor_input:"
STEP_STATES = {"SUCCESS": StepState.SUCCEEDED, "FAILURE": StepState.FAILED}
ERROR_LINES = 10
NO_MESSAGE = "the step ended without a message"


@dataclass
class Step:
    """Execution of a component; `parameters` and `artifacts` are its outputs."""

    name: str
    state: StepState = StepState.RUNNING
    seconds: float = 0.0
    parameters: dict[str, Any] = field(default_factory=dict)
    artifacts: list[dict[str, Any]] = field(default_factory=list)


class RunLog(io.TextIOBase):
    """Standard output of kfp's local runner, copied to `out` without colours.

    kfp reports the progress of steps in its log only: this class parses those lines.

    Attributes:
        steps: the steps in the order in which they started.
        failed: the first step that failed and did not succeed in a retry.
        error: the last log lines of that step.
    """

    def __init__(self, out: TextIO) -> None:
        self.steps: list[Step] = []
        self.failed: Step | None = None
        self.error = ""
        self._out = out
        self._line = ""
        self._step_lines: deque[str] = deque(maxlen=ERROR_LINES)
        self._in_dump = False
        self._started: dict[str, float] = {}
        self._lock = threading.Lock()

    def write(self, text: str) -> int:
        """Copy text to the log."""
        with self._lock:
            *lines, self._line = (self._line + text).split("\n")
            for line in lines:
                self._on_line(COLOUR.sub("", line))
        return len(text)

    def end(self, failure: Exception) -> None:
        """Record the exception that ended the run.

        The step that was running counts as failed, unless a step failed before.
        """
        if self.failed:
            return
        self._step_lines.append(COLOUR.sub("", f"{type(failure).__name__}: {failure}"))
        if self.steps and self.steps[-1].state == StepState.RUNNING:
            self._finish(self.steps[-1].name, StepState.FAILED)
        else:
            self.error = self._step_lines[-1]
        self.write("".join(traceback.format_exception(failure)))

    def _on_line(self, line: str) -> None:
        self._write_line(line)
        if started := STARTED.match(line):
            self.steps.append(Step(started[1]))
            self._started[started[1]] = time.monotonic()
            self._step_lines.clear()
        elif finished := FINISHED.match(line):
            self._finish(finished[1], STEP_STATES[finished[2]])
        else:
            self._keep_step_line(line.removeprefix(STEP_INDENT).rstrip())

    def _finish(self, name: str, state: StepState) -> None:
        step = next(step for step in reversed(self.steps) if step.name == name)
        step.state, step.seconds = state, round(time.monotonic() - self._started[name], 2)
        self._write_line(f"{name}: {state} in {step.seconds} s")
        if state == StepState.FAILED and self.failed is None:
            self.failed, self.error = step, "\n".join(self._step_lines or [NO_MESSAGE])
        elif state == StepState.SUCCEEDED and self.failed and self.failed.name == name:
            self.failed, self.error = None, ""  # a retry succeeded
        self._step_lines.clear()

    def _keep_step_line(self, line: str) -> None:
        """Keep a line of the step itself; kfp's executor logs its whole input first."""
        if line.endswith(INPUT_DUMP):
            self._in_dump = True
            self._step_lines.clear()
        elif self._in_dump:
            self._in_dump = line != "}"
        elif line and not line.startswith(EXECUTOR_PREFIX):
            self._step_lines.append(line)

    def _write_line(self, line: str) -> None:
        self._out.write(f"{line}\n")  # kfp replaces `print` while a step runs
        self._out.flush()


def main() -> int:
    """Run the package in the folder of the command line and return the exit code."""
    _end_with_parent()
    folder = Path(sys.argv[1]).resolve()
    result = run_package(folder)
    partial = folder / "result.json.partial"
    partial.write_text(json.dumps(result, indent=2) + "\n")
    partial.replace(folder / "result.json")
    return 0 if result["state"] == RunState.SUCCEEDED else 1


def run_package(folder: Path) -> dict[str, Any]:
    """Run the package in `folder` and return the result, in the format of `result.json`."""
    package = (folder / "package.yaml").read_text()
    root, scratch = folder / "artifacts", folder / "tmp"
    scratch.mkdir()
    os.environ |= {"TMPDIR": str(scratch), "PYTHONUNBUFFERED": "1"}  # kfp never deletes the temporary folder of a step
    log = RunLog(sys.stdout)
    state, outputs = RunState.SUCCEEDED, {}
    try:
        with contextlib.redirect_stdout(log):
            outputs = _run_package(package, json.loads((folder / "arguments.json").read_text()), root)
    except Exception as failure:  # every exception of a step or of kfp is the result of the run
        state = RunState.FAILED
        log.end(failure)
    finally:
        shutil.rmtree(scratch)
    _add_outputs(log.steps, root, yaml.safe_load_all(package))
    return {
        "state": state,
        "outputs": outputs,
        "failed_step": log.failed.name if log.failed else None,
        "error": log.error,
        "steps": [asdict(step) for step in log.steps],
    }


def _run_package(package: str, arguments: dict[str, Any], root: Path) -> dict[str, Any]:
    from kfp import components, dsl, local

    # kfp inserts the interpreter into a shell command without quotes; its path may have spaces.
    sys.executable = shlex.quote(sys.executable)
    local.init(
        local.SubprocessRunner(use_venv=False), pipeline_root=str(root), workspace_root=str(root.with_name("workspace"))
    )
    outputs = components.load_component_from_text(package)(**arguments).outputs
    return {name: value.uri if isinstance(value, dsl.Artifact) else value for name, value in outputs.items()}


def _add_outputs(steps: list[Step], root: Path, documents: Any) -> None:
    """Add the outputs of each step from the file of its executor, with artifact types from the package."""
    components = next(iter(documents))["components"]
    written = {file.parent.name: json.loads(file.read_text()) for file in root.rglob("executor_output.json")}
    for step in steps:
        output = written.get(step.name, {})
        declared = components[f"comp-{step.name}"].get("outputDefinitions", {}).get("artifacts", {})
        step.parameters = output.get("parameterValues", {})
        step.artifacts = [
            {
                "name": name,
                "type": declared[name]["artifactType"]["schemaTitle"],
                "uri": artifact["uri"],
                "metadata": artifact.get("metadata", {}),
            }
            for name, artifacts in output.get("artifacts", {}).items()
            for artifact in artifacts["artifacts"]
        ]


def _end_with_parent() -> None:
    """Kill this process and its steps when the pipe at standard input closes: the parent process has ended."""
    if not stat.S_ISFIFO(os.fstat(sys.stdin.fileno()).st_mode):
        return
    pipe = os.dup(sys.stdin.fileno())
    with Path(os.devnull).open() as null_device:  # steps inherit standard input and must not read from the pipe
        os.dup2(null_device.fileno(), sys.stdin.fileno())
    if os.getpgrp() != os.getpid():
        os.setpgrp()

    def kill_group(*_: object) -> None:
        os.killpg(os.getpgrp(), signal.SIGKILL)

    def wait() -> None:
        while os.read(pipe, 4096):
            pass
        kill_group()

    signal.signal(signal.SIGTERM, kill_group)
    threading.Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
