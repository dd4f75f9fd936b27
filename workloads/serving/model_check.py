"""Check of a registered version by the model server, before the version becomes the champion."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from mlplatform.tracking_access import TrackingAccess

from infra.errors import UserError
from infra.local.local_process import PYTHON
from tools.bootstrap.process import inherited_environment
from workloads.mlflow_session import mlflow_session

COMMAND = (PYTHON, "-m", "model_server", "check")
"""Program that ends with code 0 if it can serve the model in a folder; else the last line of its output says why."""
CHECK_SECONDS = 180
"""Timeout of the program, which limits the model's own share to 60 s."""
REASON = "cannot be served: "


def refusal(access: TrackingAccess[str], model: str, version: str) -> str | None:
    """Return why the model server cannot serve a version; None if it can.

    Raises:
        UserError: the files of the version cannot be downloaded.
    """
    from workloads.ml import tracking

    with tempfile.TemporaryDirectory() as folder, mlflow_session(access) as url:
        from mlflow.artifacts import download_artifacts
        from mlflow.exceptions import MlflowException

        try:
            source = tracking.client(url).get_model_version(model, version).source
            files = download_artifacts(artifact_uri=source, dst_path=folder, tracking_uri=url)
        except (MlflowException, OSError) as error:
            reason = error.message if isinstance(error, MlflowException) else error
            raise UserError(f"version {version} of the model {model} cannot be downloaded: {reason}") from None
        return folder_refusal(Path(files))


def folder_refusal(folder: Path) -> str | None:
    """Return why the model server cannot serve the model in a folder; None if it can."""
    try:
        result = subprocess.run(
            [*COMMAND, str(folder)],
            cwd=folder,
            env=inherited_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=CHECK_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return f"the check took longer than {CHECK_SECONDS} s"
    if result.returncode == 0:
        return None
    lines = (result.stderr.strip() or result.stdout.strip()).splitlines()
    return lines[-1].rpartition(REASON)[2] if lines else f"the check ended with code {result.returncode}"
