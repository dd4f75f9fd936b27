"""Model server as a process of this computer."""

from __future__ import annotations

from collections.abc import Mapping
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
    champions: Mapping[str, Champion],
    directory: Path,
) -> LocalProcess:
    """Start a model server for the champions of one or several models.

    With `serving:follow`, which several models need, the server loads a new champion by itself. Otherwise each new
    champion restarts it.

    Args:
        name: the name of the resource, of the log and of the data folder.
        settings: limits of the server and number of its processes.
        port: the port of the server.
        setting: the setting of `port`, for errors.
        tracking_url: the address of the model registry, an MLflow server.
        champions: the versions to serve by the names of the registered models.
        directory: the folder of this computer for the data of the stack.
    """
    models, champion = ",".join(champions), next(iter(champions.values()))
    selection: dict[str, pulumi.Input[str]] = (
        {"MODEL_SERVER_ALIAS": ALIAS}
        if settings.follow
        else {"MODEL_SERVER_VERSION": champion.version, "MODEL_SERVER_SHA256": champion.sha256}
    )
    versions = pulumi.Output.all(*(each.version for each in champions.values()))
    return LocalProcess(
        name,
        command=[PYTHON, "-m", "model_server"],
        environment={
            "MODEL_SERVER_REGISTRY": tracking_url,
            "MODEL_SERVER_MODELS" if len(champions) > 1 else "MODEL_SERVER_MODEL": models,
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
        ready_path=versions.apply(lambda known: "/v2/health/ready" if any(known) else "/v2/health/live"),
        data=directory / name,
    )
