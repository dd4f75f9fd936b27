"""Program that runs a package as the pods of the engine `job` do: `python -m ... <package.yaml.gz> <empty folder>`.

It creates the pods that the run requests, as the engine does. Each pod is a process forked from this one: only one
process imports the libraries.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import mlflow.tracking  # noqa: F401  the pods share it

from workloads.engines import pod_entrypoint, pod_loops
from workloads.engines.pod_entrypoint import INDEX_VARIABLE, LOOP_VARIABLE
from workloads.engines.pod_loops import LOOP_PREFIX, LoopPods


def start_pod(package: str, folder: Path, log: int, **variables: str) -> int:
    """Start a pod whose log goes to an open file, and return the id of its process."""
    pod = os.fork()
    if pod:
        return pod
    folder.mkdir(parents=True, exist_ok=True)
    os.dup2(log, sys.stdout.fileno())
    os.environ |= variables
    sys.argv[1:] = [package, str(folder)]
    os._exit(pod_entrypoint.main())


def main() -> None:
    """Print the log of the run's pod, and end with its exit code."""
    pod_loops.POLL_SECONDS = 0.1  # type: ignore[assignment]
    package, folder = sys.argv[1], Path(sys.argv[2])
    own, log = os.pipe()
    run = start_pod(package, folder, log)
    os.close(log)
    iterations = []
    with os.fdopen(own) as lines, Path(os.devnull).open("w") as hidden:
        for line in lines:
            if not line.startswith(LOOP_PREFIX):
                print(line, end="", flush=True)
                continue
            loop = LoopPods(**json.loads(line.removeprefix(LOOP_PREFIX)))
            for index in map(str, range(loop.pods)):
                place = folder.with_name(f"{loop.loop}-{index}")
                variables = {LOOP_VARIABLE: loop.loop, INDEX_VARIABLE: index}
                iterations.append(start_pod(package, place, hidden.fileno(), **variables))
    codes = [os.waitstatus_to_exitcode(os.waitpid(pod, 0)[1]) for pod in (run, *iterations)]
    sys.exit(max(codes))


if __name__ == "__main__":
    main()
