"""MLflow: experiment tracking and model registry, with its web pages."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from infra.process import HOST, PYTHON, LocalProcess
from settings import Tracking


def tracking_server(settings: Tracking, directory: Path) -> LocalProcess:
    """An MLflow server on this computer: runs and models in SQLite, artifacts in a folder beside it."""
    return LocalProcess(
        "mlflow",
        command=[
            *(
                PYTHON,
                "-m",
                "mlflow",
                "server",
                "--host",
                HOST,
                "--port",
                str(settings.port),
                "--workers",
                "1",
            ),
            *("--backend-store-uri", "sqlite:///mlflow.db", "--artifacts-destination", "artifacts"),
        ],
        environment={
            # Scheduled evaluations of language models: four more processes that nothing here asks for.
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        },
        revision=version("mlflow"),
        port=settings.port,
        setting="platform:tracking.port",
        ready_path="/health",
        data=directory / "mlflow",
        retain=settings.retain,
    )
