"""All Kubernetes objects that the program and its engines create, rendered with Pulumi's mocks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pulumi
from mlplatform import mlflow
from mlplatform.addons.metallb import MetalLb
from mlplatform.addons.metrics_server import MetricsServer
from mlplatform.addons.node_watch import NodeWatch
from mlplatform.addons.openebs import OpenEbs
from mlplatform.addons.pod_network import pod_network
from mlplatform.door.door import HUB_PAGE, Door, door_access
from mlplatform.door.door_routes import PublishedModel
from mlplatform.door.services_behind import Behind, Page
from mlplatform.images.image import LIBRARIES, Image
from mlplatform.job_namespace import job_engine
from mlplatform.k8s.namespace import DNS, namespace, team_namespace
from mlplatform.kubeflow.kubeflow_pipelines import KubeflowPipelines
from mlplatform.mlflow import MlflowServer
from mlplatform.monitoring.canary_trial import CanaryTrial
from mlplatform.monitoring.monitoring import Monitoring
from mlplatform.notebooks.notebooks import NotebookAccess, Notebooks
from mlplatform.platform import ClusterTarget
from mlplatform.stores.replicated_stores import ReplicatedStores
from mlplatform.team import Team

from infra.cluster import Cluster, provider
from infra.registry import ContainerRegistry
from settings.infra import KubernetesSettings
from settings.platform import (
    KubeflowSettings,
    MonitoringSettings,
    PlatformSettings,
    TrackingSettings,
)
from settings.services.door_settings import DoorSettings
from settings.services.load_balancer_settings import LoadBalancerSettings
from settings.services.notebook_settings import NotebookSettings
from settings.services.team_settings import TeamSettings
from settings.serving import CanarySettings, ServingSettings
from workloads.serving.champion import Champion
from workloads.serving.kubernetes import ModelService, serving_namespace, team_servers

from .graph import Graph, run

DATABASE = {"host": "db.example.com", "user": "kfp", "password": "word", "pipelines": "runs", "metadata": "meta"}
OBJECTS = {"host": "s3.example.com", "bucket": "kfp", "access_key": "who", "secret_key": "key"}


def text(value: str = "text") -> pulumi.Output[str]:
    return pulumi.Output.from_input(value)


def a_cluster() -> Cluster:
    nodes: pulumi.Output[list[dict[str, Any]]] = pulumi.Output.from_input([])
    return Cluster("lab", text(), provider("lab", "text", upsert=True), text(), nodes, storage_class="disk")


def a_registry() -> ContainerRegistry:
    return ContainerRegistry(text(), text(), pulumi.Output.secret("word"), text())


def _network(packages: str, **settings: Any) -> None:
    nodes = KubernetesSettings.model_validate({"packages": packages})
    pod_network(PlatformSettings.model_validate(settings), nodes, a_cluster())


def _metallb() -> None:
    MetalLb(LoadBalancerSettings.model_validate({"addresses": "10.0.0.10-10.0.0.20"}), a_cluster())


def kubeflow(settings: dict[str, Any], **cluster: Any) -> None:
    registry = a_registry()
    KubeflowPipelines(
        KubeflowSettings.model_validate(settings),
        replace(a_cluster(), **cluster),
        registry,
        Image(LIBRARIES, registry),
        Path("/nowhere"),
        "lab",
    )


def _monitoring() -> None:
    cluster, registry = a_cluster(), a_registry()
    settings = MonitoringSettings.model_validate({"alerts_url": "https://hooks.example.com/t0ken"})
    Monitoring(settings, cluster, registry, [cluster.provider])


def _workloads() -> None:
    cluster, registry = a_cluster(), a_registry()
    libraries = Image(LIBRARIES, registry)
    tracking = MlflowServer(TrackingSettings(), cluster, registry, libraries).server
    job_engine(cluster, registry, libraries, Path("/nowhere"))
    shared = serving_namespace(ClusterTarget(cluster, registry, monitored=True), tracking)
    champion = cast(Champion, SimpleNamespace(version=text("3"), sha256=text("0" * 64)))
    for name, settings in {
        "follows": ServingSettings.model_validate({"follow": True}),
        "pinned": ServingSettings(),
        "grpc": ServingSettings.model_validate({"grpc_port": 8001}),
    }.items():
        ModelService(name, settings, shared, port=8080, champions={name: champion}, canary=CanarySettings(version=2))
    several = ServingSettings.model_validate({"follow": True, "together": ["iris", "wine"]})
    champions = dict.fromkeys(several.together, champion)
    ModelService("shared-models", several, shared, port=8080, champions=champions, canary=None)


def canary_trial(state: str) -> CanaryTrial:
    """Return the trial of version 4 of the model iris in a state."""
    serves: pulumi.Output[bool] = pulumi.Output.from_input(state == "testing")
    outputs = {"canary": {"model": "iris", "version": "4", "trial": state}}
    return cast(CanaryTrial, SimpleNamespace(outputs=outputs, serves=serves))


def door(
    settings: dict[str, Any],
    canary: CanarySettings | None = None,
    state: str = "testing",
    notebooks: pulumi.Output[str] | None = None,
    *,
    sees_callers: bool = False,
) -> dict[str, Any]:
    """Create a door in front of all pages and two models, of which one may have a canary; return its outputs.

    `notebooks` is the key of their hub, and `sees_callers` that of `Door`.
    """
    parsed = DoorSettings.model_validate({"host": "ml.example.com"} | settings)
    pages = {
        "mlflow": Page("mlplatform-tracking", "mlflow.mlplatform-tracking.svc:5050"),
        "monitoring": Page(
            "mlplatform-monitoring", "prometheus.mlplatform-monitoring.svc:9090", "me", text("word"), "/s"
        ),
        "pipeline": Page("kubeflow", "ml-pipeline-ui.kubeflow.svc:8080", "kubeflow", text("word")),
    }
    if notebooks:
        pages["notebooks"] = Page("mlplatform-notebooks", "notebooks.mlplatform-notebooks.svc:8000")
        pages[HUB_PAGE] = Page("mlplatform-notebooks", "notebooks.mlplatform-notebooks.svc:8081", password=notebooks)
    models = {
        "iris": PublishedModel("iris-server", 5005, "team", 1024, canary=canary),
        "rose": PublishedModel("shared-models", 5006, "public", 1024, "/models/rose/"),
    }
    cluster, registry = a_cluster(), a_registry()
    behind = Behind(pages, models, {"train": "0 3 * * *"}, trial=canary_trial(state) if canary else None)
    image = Image(LIBRARIES, registry)
    return Door(parsed, door_access(parsed), behind, cluster, registry, image, sees_callers=sees_callers).outputs


def teams() -> None:
    """Create MLflow, monitoring, and two teams of which one serves a model."""
    cluster, registry = a_cluster(), a_registry()
    libraries = Image(LIBRARIES, registry)
    owned = {
        "*": {"experiments": [], "models": {}},
        "shop": {"experiments": ["flowers"], "models": {"iris": True}},
        "science": {"experiments": [], "models": {}},
    }
    tracking = MlflowServer(TrackingSettings(), cluster, registry, libraries, teams=owned).server
    engine, _ = job_engine(cluster, registry, libraries, Path("/nowhere"))
    quota = {"cpu": 8, "memory_gb": 16, "storage_gb": 40}
    created = {
        name: Team(name, TeamSettings.model_validate(each), engine, tracking.teams[name], cluster, registry, [DNS])
        for name, each in {"shop": {"people": ["sam"], "quota": quota}, "science": {"people": ["tess"]}}.items()
    }
    Monitoring(MonitoringSettings(), cluster, registry, teams=[each.namespace.name for each in created.values()])
    shared = serving_namespace(ClusterTarget(cluster, registry, monitored=True, door=True), tracking)
    servers = team_servers(shared, created["shop"])
    champion = cast(Champion, SimpleNamespace(version=text("3"), sha256=text("0" * 64)))
    ModelService("iris-server", ServingSettings(), servers, port=5005, champions={"iris": champion}, canary=None)


def notebooks(*names: str, **settings: Any) -> None:
    """Create the hub, with servers in the namespaces of these teams."""
    cluster, registry = a_cluster(), a_registry()
    access = NotebookAccess(text("hub-key"), {"podSelector": {"matchLabels": {"of": "door"}}}, [DNS])
    spaces = {name: namespace(team_namespace(name), cluster, registry) for name in names}
    variables = {name: pulumi.Output.secret({"WORD": f"of-{name}"}) for name in names or ("",)}
    Notebooks(NotebookSettings.model_validate(settings), access, cluster, registry, spaces, variables)


def stores() -> None:
    """Create replicated stores, and MLflow on them."""
    cluster, registry = a_cluster(), a_registry()
    replicated = ReplicatedStores(cluster, registry, mlflow.NAMESPACE, mlflow.PODS, size_gb=5)
    MlflowServer(TrackingSettings(), cluster, registry, Image(LIBRARIES, registry), stores=replicated)


def external_stores() -> None:
    """Create MLflow on the stores of the settings."""
    cluster, registry = a_cluster(), a_registry()
    bucket = {"url": "s3://runs/mlflow", "access_key": "me", "secret_key": "word"}
    settings = TrackingSettings.model_validate({"database_url": "postgresql://me:word@db/mlflow", "artifacts": bucket})
    MlflowServer(settings, cluster, registry, Image(LIBRARIES, registry))


PROGRAMS: dict[str, Callable[[], object]] = {
    "weave": lambda: _network("bundle"),
    "weave upstream": lambda: _network("upstream", weave_fast_datapath=True),
    "flannel": lambda: _network("bundle", network="flannel"),
    "flannel upstream": lambda: _network("upstream", network="flannel"),
    "metallb": _metallb,
    "metrics-server": lambda: MetricsServer(a_cluster()),
    "node-watch": lambda: NodeWatch(a_cluster()),
    "openebs": lambda: OpenEbs(a_cluster(), is_default=True),
    "kubeflow": lambda: kubeflow({}),
    "kubeflow with stores of the settings": lambda: kubeflow({"database": DATABASE, "objects": OBJECTS}),
    "door": lambda: door({}),
    "monitoring": _monitoring,
    "workloads": _workloads,
    "teams": teams,
    "notebooks": notebooks,
    "notebooks of teams": lambda: notebooks("shop", "science", sizes={"small": {"cpu": 1}, "large": {"cpu": 8}}),
    "replicated stores": stores,
    "mlflow with stores of the settings": external_stores,
}
"""Programs that create the objects of one part of a stack."""


def graph_of(program: str) -> Graph:
    """Return what the program of this name creates."""
    return run(PROGRAMS[program])[0]
