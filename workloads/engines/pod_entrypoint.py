"""Program that runs one pipeline, or one iteration of its loops, in a pod.

Command: `python -m workloads.engines.pod_entrypoint <package.yaml.gz> <empty folder>`.

The environment variable MLPLATFORM_RUN has the request: {"pipeline", "run_id", "arguments", "tracking_url"}. The log
goes to standard output. Its last line has the result of the run, see `encode_result`. The pod's files are lost with the
pod: the program stores them in MLflow first, and the result has their addresses there.

With MLPLATFORM_LOOP, the id of a loop, the program runs the iteration JOB_COMPLETION_INDEX of that loop. It stores the
result for the pod of the run, see `workloads.engines.pod_loops`. The exit code REPORTED_FAILURE means that the
iteration failed and has a result; any other code except 0 means that it has none.
"""

from __future__ import annotations

import base64
import gzip
import json
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

from workloads.engines import kfp_runner
from workloads.engines.base import RunResult, RunState
from workloads.engines.pod_dask import dask_scheduler
from workloads.engines.pod_loops import PodLoops, persist
from workloads.ml import tracking

RUN_VARIABLE = "MLPLATFORM_RUN"
LOOP_VARIABLE = "MLPLATFORM_LOOP"
INDEX_VARIABLE = "JOB_COMPLETION_INDEX"
"""Kubernetes sets this variable in the pods of an indexed Job."""
RESULT_PREFIX = "mlplatform-result:"
REPORTED_FAILURE = 3
ARTIFACT_FOLDER = "pipeline"
"""Folder of the MLflow run's artifacts with the outputs of all steps."""
WORKSPACE = "{{$.workspace_path}}"
"""Placeholder for a folder that all steps share: iterations in other pods would not have it."""


def main() -> int:
    """Run the package or the iteration, store its result, and return the exit code."""
    package, folder = Path(sys.argv[1]), Path(sys.argv[2])
    request = json.loads(os.environ[RUN_VARIABLE])
    (folder / "package.yaml").write_bytes(gzip.decompress(package.read_bytes()))
    loops = PodLoops(request["tracking_url"], request["pipeline"], request["run_id"])
    if loop := os.environ.get(LOOP_VARIABLE):
        return _run_iteration(request, folder, loops, loop, int(os.environ[INDEX_VARIABLE]))
    return _run_pipeline(request, folder, loops)


def _run_pipeline(request: dict[str, Any], folder: Path, loops: PodLoops) -> int:
    """Run the package, record the run in MLflow, log the result and return the exit code."""
    with dask_scheduler(request["arguments"].get("dask")) as variables:
        os.environ.update(variables)
        # The pod has memory for one step at a time.
        result = kfp_runner.run_package(
            folder,
            request["run_id"],
            lambda dag: dag.run(request["arguments"]),
            parallel_steps=1,
            loops=None if WORKSPACE in (folder / "package.yaml").read_text() else loops,
        )
    url, pipeline, run_id, arguments = (request[key] for key in ("tracking_url", "pipeline", "run_id", "arguments"))
    record = partial(tracking.record, url, pipeline, run_id, arguments, RunResult.read(result, ""), {})
    mlflow_run = persist(url, record)
    print(encode_result(store_files(url, mlflow_run, result, folder / "artifacts")))
    return 0 if result["state"] == RunState.SUCCEEDED else 1


def _run_iteration(request: dict[str, Any], folder: Path, loops: PodLoops, loop_id: str, index: int) -> int:
    """Run an iteration of a loop, store its result and return the exit code."""
    loop = loops.read(loop_id)
    result = kfp_runner.run_package(
        folder, request["run_id"], lambda dag: dag.run_iteration(loop, index), parallel_steps=1
    )
    stored = store_files(request["tracking_url"], loops.mlflow_run, result, folder / "artifacts")
    loops.write_result(loop_id, index, stored)
    return 0 if result["state"] == RunState.SUCCEEDED else REPORTED_FAILURE


def store_files(url: str, mlflow_run: str, result: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Store the files of steps in MLflow and return the result with their addresses there."""
    mlflow = tracking.client(url)
    if folder.is_dir():
        persist(url, lambda: mlflow.log_artifacts(mlflow_run, str(folder), ARTIFACT_FOLDER))
    run = persist(url, lambda: mlflow.get_run(mlflow_run))
    stored: dict[str, Any] = json.loads(
        json.dumps(result).replace(str(folder), f"{run.info.artifact_uri}/{ARTIFACT_FOLDER}")
    )
    return stored


def encode_result(result: dict[str, Any]) -> str:
    """Return a result as one line of the log."""
    return RESULT_PREFIX + base64.b64encode(gzip.compress(json.dumps(result).encode())).decode()


def decode_result(line: str) -> dict[str, Any]:
    """Return the result in a line of `encode_result`."""
    result: dict[str, Any] = json.loads(gzip.decompress(base64.b64decode(line.removeprefix(RESULT_PREFIX))))
    return result


if __name__ == "__main__":
    sys.exit(main())
