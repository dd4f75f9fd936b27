"""Runs one compiled pipeline with kfp's local runner: `python -m workloads.engines.kfp_runner <run folder>`.

The folder holds `package.yaml` and `arguments.json`. The log goes to standard output; `result.json` appears in the
folder when the run has ended:

    {"state": "SUCCEEDED" | "FAILED", "outputs": {name: value},
     "failed_step": name | null, "error": last lines of its log,
     "steps": [{"name", "state", "seconds", "parameters": {output name: value},
                "artifacts": [{"name", "type", "uri", "metadata"}]}]}

The exit code is 0 for SUCCEEDED. Where standard input is a pipe, the run ends with the process at its other end.
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

COLOUR = re.compile(r"\x1b\[[0-9;]*m")
STARTED = re.compile(r"\d\d:\d\d:\d\d\.\d{3} - INFO - Executing task '(.+)'$")
FINISHED = re.compile(r"\d\d:\d\d:\d\d\.\d{3} - (?:INFO|ERROR) - Task '(.+)' finished with status (SUCCESS|FAILURE)$")
STEP_INDENT = "    "
OF_EXECUTOR = "[KFP Executor "
INPUT_DUMP = "Got executor_input:"
STATES = {"SUCCESS": "SUCCEEDED", "FAILURE": "FAILED"}
ERROR_LINES = 10
SILENT = "the step ended without a message"


@dataclass
class Step:
    """One execution of a component; `parameters` and `artifacts` are its outputs."""

    name: str
    state: str = "RUNNING"
    seconds: float = 0.0
    parameters: dict[str, Any] = field(default_factory=dict)
    artifacts: list[dict[str, Any]] = field(default_factory=list)


class RunLog(io.TextIOBase):
    """Standard output of kfp's local runner, written on without colours.

    It follows the steps by their lines in it: kfp tells of them in no other way.
    """

    def __init__(self, out: TextIO) -> None:
        self.steps: list[Step] = []
        self.failed: Step | None = None
        self.error = ""
        self._out = out
        self._line = ""
        self._said: deque[str] = deque(maxlen=ERROR_LINES)
        self._in_dump = False
        self._started: dict[str, float] = {}
        self._lock = threading.Lock()

    def write(self, text: str) -> int:
        with self._lock:
            *lines, self._line = (self._line + text).split("\n")
            for line in lines:
                self._on_line(COLOUR.sub("", line))
        return len(text)

    def end(self, failure: Exception) -> None:
        """Note what ended the run; it is the fault of the step that was running then, if no step has failed."""
        if self.failed:
            return
        self._said.append(COLOUR.sub("", f"{type(failure).__name__}: {failure}"))
        if self.steps and self.steps[-1].state == "RUNNING":
            self._finish(self.steps[-1].name, "FAILED")
        else:
            self.error = self._said[-1]
        self.write("".join(traceback.format_exception(failure)))

    def _on_line(self, line: str) -> None:
        self._tell(line)
        if started := STARTED.match(line):
            self.steps.append(Step(started[1]))
            self._started[started[1]] = time.monotonic()
            self._said.clear()
        elif finished := FINISHED.match(line):
            self._finish(finished[1], STATES[finished[2]])
        else:
            self._remember(line.removeprefix(STEP_INDENT).rstrip())

    def _finish(self, name: str, state: str) -> None:
        step = next(step for step in reversed(self.steps) if step.name == name)
        step.state, step.seconds = state, round(time.monotonic() - self._started[name], 2)
        self._tell(f"{name}: {state} in {step.seconds} s")
        if state == "FAILED" and self.failed is None:
            self.failed, self.error = step, "\n".join(self._said or [SILENT])
        elif state == "SUCCEEDED" and self.failed and self.failed.name == name:
            self.failed, self.error = None, ""  # a retry went well
        self._said.clear()

    def _remember(self, line: str) -> None:
        """Keep what the step itself said; kfp's executor first says much about its input."""
        if line.endswith(INPUT_DUMP):
            self._in_dump = True
            self._said.clear()
        elif self._in_dump:
            self._in_dump = line != "}"
        elif line and not line.startswith(OF_EXECUTOR):
            self._said.append(line)

    def _tell(self, line: str) -> None:
        self._out.write(f"{line}\n")  # not `print`, which is kfp's while a step runs
        self._out.flush()


def main() -> int:
    _end_with_parent()
    folder = Path(sys.argv[1]).resolve()
    result = run(folder)
    partial = folder / "result.json.partial"
    partial.write_text(json.dumps(result, indent=2) + "\n")
    partial.replace(folder / "result.json")
    return 0 if result["state"] == "SUCCEEDED" else 1


def run(folder: Path) -> dict[str, Any]:
    """Run the package in `folder` and say how it went."""
    package = (folder / "package.yaml").read_text()
    root, scratch = folder / "artifacts", folder / "tmp"
    scratch.mkdir()
    os.environ |= {"TMPDIR": str(scratch), "PYTHONUNBUFFERED": "1"}  # kfp leaves a folder for each step behind
    log = RunLog(sys.stdout)
    state, outputs = "SUCCEEDED", {}
    try:
        with contextlib.redirect_stdout(log):
            outputs = _run_package(package, json.loads((folder / "arguments.json").read_text()), root)
    except Exception as failure:  # whatever ends a run is its result
        state = "FAILED"
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
    """Read each step's outputs from what its executor wrote, the artifacts' types from the package."""
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
    """Kill this process and its steps when the pipe at standard input closes: a killed parent leaves no run behind."""
    if not stat.S_ISFIFO(os.fstat(sys.stdin.fileno()).st_mode):
        return
    pipe = os.dup(sys.stdin.fileno())
    with Path(os.devnull).open() as nothing:  # the steps inherit standard input, and would read from the pipe
        os.dup2(nothing.fileno(), sys.stdin.fileno())
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
