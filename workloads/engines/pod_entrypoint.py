"""Runs one pipeline in a pod: `python -m workloads.engines.pod_entrypoint <package.yaml.gz> <empty folder>`.

The environment variable MLPLATFORM_RUN says which: {"pipeline", "run_id", "arguments", "tracking_url"}. The log goes to
standard output and ends with the runner's result on one line, see `encoded`. As the folder goes with the pod, the run
and its files are kept in MLflow before, and the result has the addresses that they have there.
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
from workloads.engines.base import RunResult
from workloads.ml import tracking

RUN_VARIABLE = "MLPLATFORM_RUN"
MARK = "mlplatform-result:"
KEPT = "pipeline"
"""Folder of the experiment run's artifacts with all that the steps wrote."""
TRACKING_SECONDS = 120
"""How long MLflow may be away, as when its node died."""


def main() -> int:
    package, folder = Path(sys.argv[1]), Path(sys.argv[2])
    request = json.loads(os.environ[RUN_VARIABLE])
    (folder / "package.yaml").write_bytes(gzip.decompress(package.read_bytes()))
    (folder / "arguments.json").write_text(json.dumps(request["arguments"]))
    result = kfp_runner.run(folder)
    deadline = time.monotonic() + TRACKING_SECONDS
    while True:
        try:
            result = kept(request, result, folder / "artifacts")
            break
        except Exception as error:  # MLflow's client has many, and the result is worth another try
            if time.monotonic() > deadline:
                raise
            print(f"the run cannot be recorded at {request['tracking_url']} yet: {error}")
            time.sleep(5)
    print(encoded(result))
    return 0 if result["state"] == "SUCCEEDED" else 1


def kept(request: dict[str, Any], result: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Record the run and the files of its steps in MLflow. Returns the result with their addresses there."""
    url = request["tracking_url"]
    recorded = RunResult.read(result, "")
    run_id = tracking.record(url, request["pipeline"], request["run_id"], request["arguments"], recorded, {})
    mlflow = tracking.client(url)
    if folder.is_dir():
        mlflow.log_artifacts(run_id, str(folder), KEPT)
    address = f"{mlflow.get_run(run_id).info.artifact_uri}/{KEPT}"
    moved: dict[str, Any] = json.loads(json.dumps(result).replace(str(folder), address))
    return moved


def encoded(result: dict[str, Any]) -> str:
    """A result as one line of the log."""
    return MARK + base64.b64encode(gzip.compress(json.dumps(result).encode())).decode()


def decoded(line: str) -> dict[str, Any]:
    """The result in a line of `encoded`."""
    result: dict[str, Any] = json.loads(gzip.decompress(base64.b64decode(line.removeprefix(MARK))))
    return result


if __name__ == "__main__":
    sys.exit(main())
