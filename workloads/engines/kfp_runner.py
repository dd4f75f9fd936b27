"""Program that runs one compiled pipeline: `python -m workloads.engines.kfp_runner <run folder>`.

The folder contains `package.yaml` and `arguments.json`; its name is the id of the run. The log goes to standard output.
At the end of the run the program writes `result.json` into the folder:

    {"state": "SUCCEEDED" | "FAILED", "outputs": {name: value},
     "failed_step": name | null, "error": last lines of its log,
     "steps": [{"name", "state", "seconds", "parameters": {output name: value},
                "artifacts": [{"name", "type", "uri", "metadata"}]}]}

The name of a step in a loop ends with the indices of its iterations: `train:2`, or `train:2.0` in a loop in a loop. The
name of a step in a pipeline that is a step itself starts with that step's name: `prepare/train`.

The exit code is 0 for SUCCEEDED. If standard input is a pipe, the run stops when the other end of the pipe closes.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import stat
import sys
import threading
import traceback
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from workloads.engines.base import RunState, StepState
from workloads.engines.dag.dag_run import DagRun
from workloads.engines.dag.loops import LoopRunner, TaskResult
from workloads.engines.dag.package_repair import repair_package
from workloads.engines.dag.package_support import UnsupportedPackage, require_support
from workloads.engines.dag.parameter_values import ParameterError
from workloads.engines.dag.run_log import RunLog
from workloads.engines.dag.step_environment import EnvironmentFailure, require_pythons
from workloads.engines.dag.step_runner import Outputs, StepRunner


def main() -> int:
    """Run the package in the folder of the command line and return the exit code."""
    _end_with_parent()
    folder = Path(sys.argv[1]).resolve()
    arguments = json.loads((folder / "arguments.json").read_text())
    steps = len(os.sched_getaffinity(0))
    result = run_package(folder, folder.name, lambda dag: dag.run(arguments), parallel_steps=steps)
    partial = folder / "result.json.partial"
    partial.write_text(json.dumps(result, indent=2) + "\n")
    partial.replace(folder / "result.json")
    return 0 if result["state"] == RunState.SUCCEEDED else 1


def run_package(
    folder: Path,
    run_id: str,
    run: Callable[[DagRun], Coroutine[Any, Any, TaskResult]],
    parallel_steps: int,
    loops: LoopRunner | None = None,
) -> dict[str, Any]:
    """Run the package in `folder` and return the result, in the format of `result.json`.

    Args:
        folder: the folder with the package.
        run_id: the id of the run.
        run: runs the pipeline, or an iteration of one of its loops.
        parallel_steps: the number of steps that run at the same time, at most.
        loops: runs loops outside this process; None if this process runs them.
    """
    documents = list(yaml.safe_load_all((folder / "package.yaml").read_text()))
    scratch, workspace = folder / "tmp", folder / "workspace"
    for each in (scratch, workspace):
        each.mkdir()
    log = RunLog(sys.stdout)
    state, outputs = RunState.FAILED, Outputs()
    try:
        package = documents[0]
        repair_package(package)  # an earlier release of this program may have compiled it
        require_support(documents)
        require_pythons(package["deploymentSpec"]["executors"])
        constants = _constants(package["pipelineInfo"]["name"], run_id, folder)
        runner = StepRunner(
            package["deploymentSpec"]["executors"], folder / "artifacts", scratch, log, constants, parallel_steps
        )
        result = asyncio.run(run(DagRun(package, runner, log, constants, loops)))
        if result.state == StepState.SUCCEEDED:
            state, outputs = RunState.SUCCEEDED, result.outputs
    except (UnsupportedPackage, EnvironmentFailure, ParameterError) as failure:
        log.fail(None, str(failure))
    except Exception as failure:  # a fault of this program is the result of the run, too
        traceback.print_exception(failure, file=sys.stdout)
        log.fail(None, f"{type(failure).__name__}: {failure}")
    finally:
        for each in (scratch, workspace):
            shutil.rmtree(each)
    return {
        "state": state,
        "outputs": outputs.parameters | _addresses(outputs, documents[0]),
        "failed_step": log.failed_step,
        "error": log.error,
        "steps": [asdict(step) for step in log.steps],
    }


def _constants(pipeline: str, run_id: str, folder: Path) -> dict[str, str]:
    """Return the texts of the placeholders that are equal for all steps."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return {
        "{{$.pipeline_job_name}}": run_id,
        "{{$.pipeline_job_resource_name}}": run_id,
        "{{$.pipeline_job_uuid}}": run_id,
        "{{$.pipeline_root}}": str(folder / "artifacts"),
        "{{$.pipeline_job_create_time_utc}}": now,
        "{{$.pipeline_job_schedule_time_utc}}": now,
        "{{$.workspace_path}}": str(folder / "workspace"),
    }


def _addresses(outputs: Outputs, package: dict[str, Any]) -> dict[str, Any]:
    """Return the addresses of the pipeline's artifacts: a list of them for an output that is a list."""
    declared = package["root"].get("outputDefinitions", {}).get("artifacts", {})
    addresses = {name: [each["uri"] for each in artifacts] for name, artifacts in outputs.artifacts.items()}
    return {name: found if declared[name].get("isArtifactList") else found[0] for name, found in addresses.items()}


def _end_with_parent() -> None:
    """Kill this process and its steps when the pipe at standard input closes: the parent process has ended."""
    if not stat.S_ISFIFO(os.fstat(sys.stdin.fileno()).st_mode):
        return
    import psutil  # the image of the engine `job` has no psutil, and its program imports this module

    pipe = os.dup(sys.stdin.fileno())
    with Path(os.devnull).open() as null_device:  # steps inherit standard input and must not read from the pipe
        os.dup2(null_device.fileno(), sys.stdin.fileno())
    if os.getpgrp() != os.getpid():
        os.setpgrp()

    def kill_groups(*_: object) -> None:
        """Kill the groups of all steps, then that of this process, whose main thread starts no step meanwhile."""
        own, groups = os.getpgrp(), set()
        for child in psutil.Process().children(recursive=True):
            with suppress(ProcessLookupError):
                groups.add(os.getpgid(child.pid))
        for group in [*(groups - {own}), own]:
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)

    def wait() -> None:
        while os.read(pipe, 4096):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    signal.signal(signal.SIGTERM, kill_groups)
    threading.Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
