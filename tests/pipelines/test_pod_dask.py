"""Scheduler and workers of Dask as the processes of pods."""

from __future__ import annotations

import subprocess
import sys

from workloads.engines import pod_dask
from workloads.ml.training.dask_workers import SCHEDULER_VARIABLE


def test_worker_that_ends_before_its_run_has_an_exit_code_for_a_new_pod() -> None:
    with pod_dask.dask_scheduler({"workers": 1, "memory": "1Gi"}) as variables:
        from distributed import Client

        address = variables[SCHEDULER_VARIABLE]
        command = [sys.executable, "-m", "workloads.engines.pod_dask_worker", "--no-dashboard", address]
        with subprocess.Popen(command) as worker, Client(address) as client:
            client.wait_for_workers(1, timeout=120)
            worker.terminate()
            assert worker.wait(60) == 1
