"""Pipelines on this computer: kfp's own local runner, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from infra.dynamic_provider import UserError
from infra.local.local_process import PYTHON
from infra.local.process_group import ProcessGroup, inherited_environment
from settings.paths import PROJECT, cache_directory
from workloads.engines.base import RunRequest, RunResult

OUR_CACHE = {"MPLCONFIGDIR": str(cache_directory() / "matplotlib")}
"""Where a step's libraries keep what they would otherwise put into the user's own folders."""


class EmbeddedEngine:
    """Versions are files `pipelines/<pipeline>/<version>.yaml` of a directory, runs are folders `runs/<run id>`."""

    def __init__(self, directory: str) -> None:
        self.directory = Path(directory)

    def upload(self, pipeline: str, version: str, package: str, secrets: Sequence[str], timeout_minutes: int) -> str:
        file = self.directory / "pipelines" / pipeline / f"{version}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(package)
        return str(file)

    def remove(self, version_id: str) -> None:
        Path(version_id).unlink(missing_ok=True)

    def left_behind(self, pipeline: str, key: str) -> str | None:
        return None  # a run ends with its `up`, see `run`

    def run(self, request: RunRequest) -> RunResult:
        folder = self.directory / "runs" / request.run_id
        folder.mkdir(parents=True)
        (folder / "package.yaml").write_text(Path(request.version_id).read_text())
        (folder / "arguments.json").write_text(json.dumps(dict(request.arguments)))
        log = folder / "run.log"
        session = ProcessGroup(self.directory / "runs" / f"{request.pipeline}.process.json")
        process = session.start(
            [PYTHON, "-m", "workloads.engines.kfp_runner", str(folder)],
            cwd=PROJECT,
            env=inherited_environment() | OUR_CACHE | dict(request.secrets),
            log=log,
            stdin=subprocess.PIPE,  # closes when this process ends, and the runner ends with it
        )
        try:
            in_time = _await(process, 60 * request.timeout_minutes)
        finally:
            session.stop()
        if not in_time:
            error = f"the run has taken more than {request.timeout_minutes} minutes, and was ended"
            return RunResult("FAILED", {}, [], str(log), None, error)
        return _result(folder / "result.json", log)


def _await(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Wait for the run, but not for one whose `up` was killed: nobody would learn its result.

    Returns:
        Whether it ended by itself within that time.
    """
    parent, deadline = os.getppid(), time.monotonic() + seconds
    while True:
        try:
            process.wait(timeout=1)
            return True
        except subprocess.TimeoutExpired:
            if os.getppid() != parent:
                raise UserError("the run was given up because `pulumi` has ended") from None
        if time.monotonic() > deadline:
            return False


def _result(file: Path, log: Path) -> RunResult:
    try:
        result = json.loads(file.read_text())
    except FileNotFoundError:
        last = log.read_text(errors="replace").strip().splitlines()[-5:]
        return RunResult("FAILED", {}, [], str(log), None, "\n".join(["the runner ended without a result:", *last]))
    return RunResult.read(result, str(log))
