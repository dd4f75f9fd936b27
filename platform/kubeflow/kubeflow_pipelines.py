"""Kubeflow Pipelines, standalone: the engine `kubeflow` and its UI."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pulumi
from mlplatform.engine_config import KubeflowEngineConfig
from mlplatform.images.image import WORKLOADS, Image
from mlplatform.k8s.namespace import ANY_ADDRESS, DNS, Rule, namespace
from mlplatform.k8s.quota import quota
from mlplatform.k8s.service_url import service_url
from mlplatform.kubeflow.api_server import HTTP, api_server
from mlplatform.kubeflow.api_server import NAME as API
from mlplatform.kubeflow.argo import argo
from mlplatform.kubeflow.deployment_factory import NAMESPACE, DeploymentFactory
from mlplatform.kubeflow.stores import METADATA, METADATA_PORT, stores
from mlplatform.kubeflow.ui import NAME as UI
from mlplatform.kubeflow.ui import ui

from infra.cluster import Cluster
from infra.registry import ContainerRegistry
from settings.platform import KubeflowSettings


class KubeflowPipelines(pulumi.ComponentResource):
    """An installation of Kubeflow Pipelines: stores, servers and UI, each pod waiting for the servers it needs.

    Args:
        libraries: an image with Python, for the init containers that wait.
        directory: the folder of the stack on this computer.
        stack: the name of the experiment that runs belong to.
        egress: rules for the connections of steps to addresses outside the namespace.

    Attributes:
        engine: the configuration of the pipeline engine.
        steps_image: the image of the steps of runs.
        run_after: resources that a run waits for.
        outputs: `ui_url`, and `ui_login` as a secret.
    """

    engine: KubeflowEngineConfig[pulumi.Input[str]]
    steps_image: pulumi.Output[str]
    run_after: Sequence[pulumi.Resource]
    outputs: Mapping[str, pulumi.Input[Any]]

    def __init__(
        self,
        settings: KubeflowSettings,
        cluster: Cluster,
        registry: ContainerRegistry,
        libraries: Image,
        directory: Path,
        stack: str,
        egress: Sequence[pulumi.Input[Rule]] = (DNS, ANY_ADDRESS),
    ) -> None:
        super().__init__("mlplatform:platform:KubeflowPipelines", "kubeflow-pipelines")
        kubeflow = namespace(NAMESPACE, cluster.under(self), registry, volumes=True)
        factory = DeploymentFactory(kubeflow, libraries)
        self.steps_image = Image(WORKLOADS, registry, pulumi.ResourceOptions(depends_on=[libraries])).reference
        created = stores(factory, settings)
        controller = argo(factory, created.objects)
        servers = api_server(factory, created, egress)
        pages, login = ui(factory, created.objects, settings)
        self.run_after = [*kubeflow.resources, *created.resources, *controller, *servers, *quota(kubeflow)]
        self.engine = KubeflowEngineConfig(
            kubeconfig=cluster.kubeconfig,
            namespace=NAMESPACE,
            api_selector=f"app={API}",
            api_port=HTTP,
            metadata_selector=f"app={METADATA}",
            metadata_port=METADATA_PORT,
            experiment=stack,
            keep_runs=settings.keep_runs,
            directory=str(directory),
            database=f"{created.database.address}/{created.database.pipelines}",
        )
        inside = f"http://{UI}.{NAMESPACE}.svc:{settings.port}"
        self.outputs = {
            "ui_url": service_url(pages, settings.service, cluster, inside),
            "ui_login": pulumi.Output.secret(dict(login)),
        }
        self.register_outputs({})
