"""Program that runs one pipeline in a pod.

Command: `python -m workloads.engines.pod_entrypoint <package.yaml.gz> <empty folder>`.

The environment variable MLPLATFORM_RUN has the request: {"pipeline", "run_id", "arguments", "tracking_url"}. The log
goes to standard output. Its last line has the result of the run, see `encode_result`. The pod's files are lost with the
pod: the program stores them in MLflow first, and the result has their addresses there.
"""

from __future__ import annotations

import base64
import gzip
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from workloads.engines import kfp_runner
from workloads.engines.base import RunResult, RunState
from workloads.ml import tracking

RUN_VARIABLE = "MLPLATFORM_RUN"
RESULT_PREFIX = "mlplatform-result:"
ARTIFACT_FOLDER = "pipeline"
"""Folder of the MLflow run's artifacts with the outputs of all steps."""
TRACKING_SECONDS = 120
"""Timeout for MLflow: its pod moves to another node when its node fails."""
RETRY_SECONDS = 5


def main() -> int:
    """Run the package, record the run in MLflow, log the result and return the exit code."""
    package, folder = Path(sys.argv[1]), Path(sys.argv[2])
    request = json.loads(os.environ[RUN_VARIABLE])
    (folder / "package.yaml").write_bytes(gzip.decompress(package.read_bytes()))
    (folder / "arguments.json").write_text(json.dumps(request["arguments"]))
    # The pod has memory for one step at a time.
    result = kfp_runner.run_package(folder, request["run_id"], parallel_steps=1)
    deadline = time.monotonic() + TRACKING_SECONDS
    while True:
        try:
            result = record_in_mlflow(request, result, folder / "artifacts")
            break
        except Exception as error:  # MLflow's client raises many types; a retry may save the result
            if time.monotonic() > deadline:
                raise
            print(f"recording the run at {request['tracking_url']} failed, next attempt in {RETRY_SECONDS} s: {error}")
            time.sleep(RETRY_SECONDS)
    print(encode_result(result))
    return 0 if result["state"] == RunState.SUCCEEDED else 1


def record_in_mlflow(request: dict[str, Any], result: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Record the run and the files of its steps in MLflow and return the result with their addresses there."""
    url = request["tracking_url"]
    run_result = RunResult.read(result, "")
    run_id = tracking.record(url, request["pipeline"], request["run_id"], request["arguments"], run_result, {})
    mlflow = tracking.client(url)
    if folder.is_dir():
        mlflow.log_artifacts(run_id, str(folder), ARTIFACT_FOLDER)
    address = f"{mlflow.get_run(run_id).info.artifact_uri}/{ARTIFACT_FOLDER}"
    moved: dict[str, Any] = json.loads(json.dumps(result).replace(str(folder), address))
    return moved


def encode_result(result: dict[str, Any]) -> str:
    """Return a result as one line of the log."""
    return RESULT_PREFIX + base64.b64encode(gzip.compress(json.dumps(result).encode())).decode()


def decode_result(line: str) -> dict[str, Any]:
    """Return the result in a line of `encode_result`."""
    result: dict[str, Any] = json.loads(gzip.decompress(base64.b64decode(line.removeprefix(RESULT_PREFIX))))
    return result


if __name__ == "__main__":
    sys.exit(main())
