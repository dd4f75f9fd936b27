"""Engine on this computer: the runner of packages in a child process."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import yaml
from mlplatform.engine_config import EmbeddedEngineConfig

from infra.dynamic_provider import UserError
from infra.local.local_process import PYTHON
from infra.local.process_group import ProcessGroup
from settings.paths import PROJECT, cache_directory
from tools.bootstrap.process import inherited_environment
from workloads.engines.base import Engine, RunRequest, RunResult, RunState, timeout_error
from workloads.engines.dag.package_support import require_support
from workloads.engines.step_progress import StepProgress

CACHE_VARIABLES = {"MPLCONFIGDIR": str(cache_directory() / "matplotlib")}
"""Environment variables that keep caches of the steps' libraries out of the user's home directory."""


class EmbeddedEngine(Engine):
    """Engine with versions in `pipelines/<pipeline>/<version>.yaml` and runs in `runs/<run id>/` of a directory."""

    def __init__(self, config: EmbeddedEngineConfig) -> None:
        self.directory = Path(config.directory)

    def upload(self, pipeline: str, version: str, ir: str, secrets: Sequence[str], timeout_minutes: int) -> str:
        """Write a package to a file and return its path."""
        require_support(list(yaml.safe_load_all(ir)))
        file = self.directory / "pipelines" / pipeline / f"{version}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(ir)
        return str(file)

    def remove(self, version_id: str) -> None:
        """Delete the file of a version."""
        Path(version_id).unlink(missing_ok=True)

    def find_resumable_run(self, pipeline: str, key: str) -> str | None:
        """Return None: a run ends with the `pulumi up` that started it, see `run`."""
        return None

    def run(self, request: RunRequest) -> RunResult:
        """Run a version in a child process."""
        folder = self.directory / "runs" / request.run_id
        folder.mkdir(parents=True)
        (folder / "package.yaml").write_text(Path(request.version_id).read_text())
        (folder / "arguments.json").write_text(json.dumps(dict(request.arguments)))
        log = folder / "run.log"
        group = ProcessGroup(self.directory / "runs" / f"{request.pipeline}.process.json")
        process = group.start(
            [PYTHON, "-m", "workloads.engines.kfp_runner", str(folder)],
            cwd=PROJECT,
            env=inherited_environment({**CACHE_VARIABLES, **request.secrets}),
            log=log,
            stdin=subprocess.PIPE,  # the pipe closes when this process ends, and the runner ends with it
        )
        try:
            with StepProgress(request, self.directory) as progress, log.open("rb") as written:
                ended = _follow(process, written, progress, 60 * request.timeout_minutes)
        finally:
            group.stop()
        if not ended:
            return _failure(log, timeout_error(request.timeout_minutes))
        return _read_result(folder / "result.json", log)


def _follow(process: subprocess.Popen[bytes], log: BinaryIO, progress: StepProgress, seconds: float) -> bool:
    """Wait for the end of the run and read its log into its progress.

    Returns:
        True if the run ended within the time.

    Raises:
        UserError: Pulumi was killed; its successor starts the run again.
    """
    parent, deadline = os.getppid(), time.monotonic() + seconds
    while True:
        try:
            process.wait(timeout=1)
            return True
        except subprocess.TimeoutExpired:
            if os.getppid() != parent:
                raise UserError("the run was stopped because `pulumi` ended") from None
        finally:
            for line in _new_lines(log):
                progress.read(line)
        if time.monotonic() > deadline:
            return False


def _new_lines(log: BinaryIO) -> Iterator[str]:
    """Yield the complete lines that the log has from its position on."""
    while (line := log.readline()).endswith(b"\n"):
        yield line.decode(errors="replace").rstrip("\n")
    log.seek(-len(line), os.SEEK_CUR)


def _read_result(file: Path, log: Path) -> RunResult:
    try:
        result = json.loads(file.read_text())
    except FileNotFoundError:
        last = log.read_text(errors="replace").strip().splitlines()[-5:]
        return _failure(log, "\n".join(["the runner ended without a result:", *last]))
    return RunResult.read(result, str(log))


def _failure(log: Path, error: str) -> RunResult:
    return RunResult(RunState.FAILED, {}, [], str(log), None, error)
