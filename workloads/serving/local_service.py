"""Model server as a process of this computer."""

from __future__ import annotations

from pathlib import Path

import pulumi

from infra.local.local_process import HOST, PYTHON, LocalProcess
from settings.paths import PROJECT
from settings.serving import ServingSettings
from workloads.ml.rest_client import ALIAS
from workloads.runs.pipeline_sources import sources_digest
from workloads.serving.champion import Champion

PROGRAM = PROJECT / "model_server"


def model_server(
    name: str,
    settings: ServingSettings,
    *,
    port: int,
    setting: str,
    tracking_url: pulumi.Input[str],
    model: str,
    champion: Champion,
    directory: Path,
) -> LocalProcess:
    """Start a model server for the champion of one model.

    With `serving:follow` the server loads a new champion by itself; otherwise each new champion restarts it.

    Args:
        name: the name of the resource, of the log and of the data folder.
        settings: limits of the server and number of its processes.
        port: the port of the server.
        setting: the setting of `port`, for errors.
        tracking_url: the address of the model registry, an MLflow server.
        model: the name of the registered model.
        champion: the version to serve.
        directory: the folder of this computer for the data of the stack.
    """
    selection: dict[str, pulumi.Input[str]] = (
        {"MODEL_SERVER_ALIAS": ALIAS}
        if settings.follow
        else {"MODEL_SERVER_VERSION": champion.version, "MODEL_SERVER_SHA256": champion.sha256}
    )
    return LocalProcess(
        name,
        command=[PYTHON, "-m", "model_server"],
        environment={
            "MODEL_SERVER_REGISTRY": tracking_url,
            "MODEL_SERVER_MODEL": model,
            **selection,
            "MODEL_SERVER_CACHE": str(directory / name / "models"),
            "MODEL_SERVER_HOST": HOST,
            "MODEL_SERVER_PORT": str(port),
            **({"MODEL_SERVER_GRPC_PORT": str(settings.grpc_port)} if settings.grpc_port else {}),
            **settings.environment(),
        },
        revision=sources_digest(file for file in PROGRAM.rglob("*") if "__pycache__" not in file.parts),
        port=port,
        setting=setting,
        ready_path=champion.version.apply(lambda version: "/v2/health/ready" if version else "/v2/health/live"),
        data=directory / name,
    )
