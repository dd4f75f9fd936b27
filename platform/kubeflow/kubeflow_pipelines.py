"""Kubeflow Pipelines, standalone: what the `kubeflow` engine runs pipelines with, and its pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi
from mlplatform.engine_config import KubeflowEngineConfig
from mlplatform.images.image import WORKLOADS, Image
from mlplatform.k8s.namespace import namespace
from mlplatform.k8s.service_url import service_url
from mlplatform.kubeflow.api_server import HTTP, api
from mlplatform.kubeflow.api_server import NAME as API
from mlplatform.kubeflow.argo import argo
from mlplatform.kubeflow.deployment_factory import NAMESPACE, DeploymentFactory
from mlplatform.kubeflow.stores import METADATA, METADATA_PORT, stores
from mlplatform.kubeflow.ui import NAME as UI
from mlplatform.kubeflow.ui import ui

from infra.cluster import Cluster
from infra.registry import ContainerRegistry
from settings.platform import KubeflowSettings


@dataclass(frozen=True)
class KubeflowPipelines:
    """An installation that takes runs.

    `engine` is the configuration of the pipeline engine; `steps_image` is what their steps run in. `run_after` is what a run waits
    for. `outputs` are the address of the pages and their login.
    """

    engine: KubeflowEngineConfig[pulumi.Input[str]]
    steps_image: pulumi.Output[str]
    run_after: Sequence[pulumi.Resource]
    outputs: Mapping[str, pulumi.Input[Any]]


def kubeflow_pipelines(
    settings: KubeflowSettings,
    cluster: Cluster,
    registry: ContainerRegistry,
    libraries: Image,
    directory: Path,
    stack: str,
) -> KubeflowPipelines:
    """Stores first, then what keeps and starts runs, then the pages; each part waits in its pod for what it needs."""
    room = namespace(NAMESPACE, cluster, registry)
    part = DeploymentFactory(room, libraries)
    steps = Image(WORKLOADS, registry, pulumi.ResourceOptions(depends_on=[libraries]))
    kept = stores(part, settings)
    controller = argo(part, kept.objects)
    servers = api(part, kept)
    pages, login = ui(part, kept.objects, settings)
    inside = f"http://{UI}.{NAMESPACE}.svc:{settings.port}"
    return KubeflowPipelines(
        engine=KubeflowEngineConfig(
            kubeconfig=cluster.kubeconfig,
            namespace=NAMESPACE,
            api_selector=f"app={API}",
            api_port=HTTP,
            metadata_selector=f"app={METADATA}",
            metadata_port=METADATA_PORT,
            experiment=stack,
            keep_runs=settings.keep_runs,
            directory=str(directory),
            database=f"{kept.database.host}:{kept.database.port}/{kept.database.pipelines}",
        ),
        steps_image=steps.reference,
        run_after=[*room.resources, *kept.resources, *controller, *servers],
        outputs={
            "ui_url": service_url(pages, settings.service, cluster, inside),
            "ui_login": pulumi.Output.secret(dict(login)),
        },
    )
