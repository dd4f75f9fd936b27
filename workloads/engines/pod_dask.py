"""Scheduler of Dask in the pod of a run: the workers are other pods.

Pods have no rights in the cluster: a line of the log requests the workers, and the engine creates them.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from workloads.ml.training.dask_workers import SCHEDULER_VARIABLE

DASK_PREFIX = "mlplatform-dask:"
PORT = 8786
STOP_SECONDS = 20
QUIET = {"DASK_LOGGING__DISTRIBUTED": "warning"}
"""Environment variable of the scheduler: the log of the run is for its steps."""


@dataclass(frozen=True)
class DaskPods:
    """Request for workers.

    Args:
        address: the address of their scheduler.
        workers: the number of pods.
        memory: the memory limit of each.
    """

    address: str
    workers: int
    memory: str


@contextmanager
def dask_scheduler(setting: Mapping[str, Any] | None) -> Iterator[dict[str, str]]:
    """Run a scheduler if the pipeline has the setting `dask`, and yield the environment variables of its steps."""
    if not setting:
        yield {}
        return
    address = f"tcp://{socket.gethostbyname(socket.gethostname())}:{PORT}"
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--no-dashboard", "--no-jupyter"]
    process = subprocess.Popen([*command, "--host", address], env=os.environ | QUIET)
    pods = DaskPods(address, int(setting["workers"]), str(setting["memory"]))
    print(f"{DASK_PREFIX}{json.dumps(asdict(pods))}", flush=True)
    try:
        yield {SCHEDULER_VARIABLE: address}
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
