"""The platform that the workloads of a stack use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pulumi
from mlplatform.blob_store import BlobStore, blob_store
from mlplatform.cluster_provisioning import ProvisionedCluster
from mlplatform.door.audit import NAMESPACE as DOOR
from mlplatform.door.door import HUB_PAGE, Door, DoorAccess, door_access
from mlplatform.door.door_pod import PODS as DOOR_PODS
from mlplatform.door.door_routes import canary_model, model_service, served_models
from mlplatform.door.services_behind import Behind, Page
from mlplatform.engine_config import EmbeddedEngineConfig, EngineConfig
from mlplatform.images.image import LIBRARIES, Image
from mlplatform.job_namespace import job_engine
from mlplatform.k8s.namespace import Rule
from mlplatform.kubeflow.deployment_factory import NAMESPACE as KUBEFLOW
from mlplatform.kubeflow.kubeflow_pipelines import KubeflowPipelines
from mlplatform.kubeflow.ui import NAME as KUBEFLOW_PAGES
from mlplatform.kubeflow.ui import USER as KUBEFLOW_USER
from mlplatform.mlflow import NAMESPACE as TRACKING
from mlplatform.mlflow import PODS as MLFLOW_PODS
from mlplatform.mlflow import MlflowServer, TrackingServer, tracking_process
from mlplatform.mlflow_pod import NAME as MLFLOW
from mlplatform.monitoring.canary_trial import CanaryTrial
from mlplatform.monitoring.monitoring import Monitoring
from mlplatform.monitoring.prometheus import PAGE as STATUS_PAGE
from mlplatform.monitoring.scraping import NAMESPACE as MONITORING
from mlplatform.notebooks import notebook_space
from mlplatform.notebooks.notebooks import NotebookAccess
from mlplatform.step_egress import step_egress
from mlplatform.stores.replicated_stores import ReplicatedStores
from mlplatform.stores.store_choice import StoreChoice
from mlplatform.team import Team
from mlplatform.team_rights import owned_by_teams

from infra.cluster import Cluster
from infra.local.local_process import HOST
from infra.registry import ContainerRegistry
from infra.secrets import RandomPassword
from settings.platform import PlatformSettings
from settings.services.blob_settings import BlobSettings
from settings.services.s3_settings import DataStoreSettings
from settings.stack import StackSettings
from settings.store_rules import has_replicated_stores


@dataclass(frozen=True)
class ClusterTarget:
    """Cluster for the services of the workloads, and the registry of their images.

    `monitored` is True if Prometheus scrapes the cluster, `door` if models are behind the door.
    """

    cluster: Cluster
    registry: ContainerRegistry
    monitored: bool = False
    door: bool = False


@dataclass(frozen=True)
class Platform:
    """Services that the workloads of a stack use.

    Args:
        engine: configuration of the pipeline engine.
        run_after: resources that each run waits for.
        pages: services with pages that no run waits for.
        steps_tracking_url: the address of MLflow for the steps of a run.
        directory: the folder of this computer for the data of this stack.
        target: the cluster for services; None if services are processes of this computer.
        steps_image: the image of the steps; None if the engine needs no image for each step.
        monitoring: None if Prometheus is not installed.
        blobs: the container that all pipelines may read; None without a data store.
        s3: the S3 store of programs without a team, and of teams without a store; None without one.
        outputs: stack outputs of the engine, of monitoring and of the door.
        door: the door; None without one.
        teams: the namespace, engine and logins of each team.
        notebooks: the key and the network rules of notebooks; None without them.
        trial: the measured trial of a canary.
    """

    engine: EngineConfig[pulumi.Input[str]]
    run_after: Sequence[pulumi.Resource]
    steps_tracking_url: pulumi.Output[str]
    tracking: TrackingServer
    blobs: BlobStore | None
    directory: Path
    target: ClusterTarget | None = None
    steps_image: pulumi.Output[str] | None = None
    monitoring: Monitoring | None = None
    outputs: Mapping[str, pulumi.Input[Any]] = field(default_factory=dict)
    pages: Sequence[pulumi.Resource] = ()
    door: Door | None = None
    teams: Mapping[str, Team] = field(default_factory=dict)
    notebooks: NotebookAccess | None = None
    trial: CanaryTrial | None = None
    s3: DataStoreSettings | None = None

    def containers(self, team: Team | None) -> list[BlobStore]:
        """Return the containers that programs of a team may read, first the one that its pipelines read by default."""
        return [each for each in (team.blobs if team else None, self.blobs) if each]

    def s3_of(self, team: Team | None) -> DataStoreSettings | None:
        """Return the S3 store that programs of a team use."""
        return (team.s3 if team else None) or self.s3


def local_platform(settings: PlatformSettings, directory: Path) -> Platform:
    """Start the services of a stack without a cluster, each as a process of this computer."""
    tracking = tracking_process(settings.tracking, directory)
    return Platform(
        engine=EmbeddedEngineConfig(str(directory)),
        run_after=tracking.resources,
        steps_tracking_url=tracking.url,
        tracking=tracking,
        blobs=blob_store(settings.blobs, HOST, directory) if settings.blobs else None,
        directory=directory,
        s3=settings.s3,
    )


def cluster_platform(
    stack_settings: StackSettings, provisioned: ProvisionedCluster, directory: Path, stack: str
) -> Platform:
    """Install the services of a stack in its cluster, with images from its registry.

    Raises:
        RunError: the settings select the emulator of Azure Blob Storage, which pods cannot reach.
    """
    settings = stack_settings.platform
    cluster, registry = provisioned.cluster, provisioned.registry
    libraries = Image(LIBRARIES, registry)
    door = door_access(settings.door) if settings.door else None
    teams = owned_by_teams(stack_settings.workloads)
    key = door.key if door else None
    replicated = has_replicated_stores(stack_settings.infra, settings)
    cluster = cluster.after(StoreChoice("replicated" if replicated else "single", cluster))
    stores = None
    if replicated:
        stores = ReplicatedStores(cluster, registry, TRACKING, MLFLOW_PODS, settings.tracking.size_gb)
    tracking = MlflowServer(settings.tracking, cluster, registry, libraries, key, teams, stores).server
    blobs = _data_sets(settings.blobs, provisioned, directory)
    engine: EngineConfig[pulumi.Input[str]]
    outputs: Mapping[str, pulumi.Input[Any]] = {}
    pages: list[pulumi.Resource] = []
    spaces: Mapping[str, Team] = {}
    egress, with_notebooks = step_egress(cluster, settings.egress), settings.notebooks is not None
    if settings.pipelines == "kubeflow":
        kubeflow = KubeflowPipelines(settings.kubeflow, cluster, registry, libraries, directory, stack, egress)
        engine, run_after, steps_image = kubeflow.engine, kubeflow.run_after, kubeflow.steps_image
        outputs, pages = kubeflow.outputs, [kubeflow]
    else:
        job, run_after = job_engine(cluster, registry, libraries, directory, egress)
        engine, steps_image = job, None
        spaces = {
            name: Team(
                name, team, job, tracking.teams[name], cluster, registry, egress, blobs, notebooks=with_notebooks
            )
            for name, team in stack_settings.workloads.teams.items()
        }
    platform = Platform(
        engine=engine,
        run_after=[*run_after, *tracking.resources],
        steps_tracking_url=tracking.inside_url,
        tracking=tracking,
        blobs=blobs,
        directory=directory,
        target=ClusterTarget(cluster, registry, door=door is not None),
        steps_image=steps_image,
        outputs=outputs,
        pages=pages,
        teams=spaces,
        notebooks=_notebook_access(egress) if with_notebooks else None,
        s3=settings.s3,
    )
    if settings.monitoring:
        platform = _with_monitoring(platform, settings)
        platform = _with_trial(platform, stack_settings)
    return _with_door(platform, stack_settings, door, libraries) if door else platform


def _notebook_access(egress: Sequence[pulumi.Input[Rule]]) -> NotebookAccess:
    """Create the key of notebooks."""
    door = notebook_space.peer_of(DOOR, DOOR_PODS)
    return NotebookAccess(RandomPassword("notebooks-key").value, door, egress)


def _data_sets(settings: BlobSettings | None, provisioned: ProvisionedCluster, directory: Path) -> BlobStore | None:
    """Return the blob store of the stack; pipelines also use a provisioned account without any upload."""
    if settings is None and provisioned.storage is None:
        return None
    return blob_store(
        settings or BlobSettings(), provisioned.address, directory, provisioned.storage, provisioned.network
    )


def _with_monitoring(platform: Platform, settings: PlatformSettings) -> Platform:
    """Install Prometheus and return the platform with it."""
    assert settings.monitoring
    assert platform.target
    kubeflow = platform.run_after if settings.pipelines == "kubeflow" else ()
    spaces = [team.namespace.name for team in platform.teams.values()]
    prometheus = Monitoring(
        settings.monitoring,
        platform.target.cluster,
        platform.target.registry,
        kubeflow,
        spaces,
        door=DOOR if settings.door else "",
        expected=_expected(settings),
    )
    return replace(
        platform,
        target=replace(platform.target, monitored=True),
        monitoring=prometheus,
        outputs={**platform.outputs, **prometheus.outputs},
        pages=[*platform.pages, prometheus],
    )


def _with_trial(platform: Platform, settings: StackSettings) -> Platform:
    """Begin or continue the trial of a canary and return the platform with it."""
    canary, model = settings.serving.canary, canary_model(settings)
    if canary is None or model is None:
        return platform
    assert platform.target
    trial = CanaryTrial(
        "canary-trial",
        kubeconfig=platform.target.cluster.kubeconfig,
        login=platform.outputs["monitoring_login"],
        model=model,
        service=model_service(model),
        canary=canary,
    )
    return replace(platform, trial=trial, outputs={**platform.outputs, **trial.outputs})


def _with_door(platform: Platform, settings: StackSettings, access: DoorAccess, libraries: Image) -> Platform:
    """Install the door in front of the services and return the platform with its outputs."""
    assert settings.platform.door
    assert platform.target
    pages = {"mlflow": Page(TRACKING, f"{MLFLOW}.{TRACKING}.svc:{settings.platform.tracking.port}")}
    if monitoring := platform.monitoring:
        address = monitoring.inside_url.removeprefix("http://")
        pages["monitoring"] = Page(MONITORING, address, monitoring.username, monitoring.password, STATUS_PAGE)
    if settings.platform.pipelines == "kubeflow":
        login = pulumi.Output.from_input(platform.outputs["ui_login"])
        address = f"{KUBEFLOW_PAGES}.{KUBEFLOW}.svc:{settings.platform.kubeflow.port}"
        pages["pipeline"] = Page(KUBEFLOW, address, KUBEFLOW_USER, login.apply(lambda known: known["password"]))
    if notebooks := platform.notebooks:
        space, service = notebook_space.NAMESPACE, f"{notebook_space.HUB}.{notebook_space.NAMESPACE}.svc"
        pages["notebooks"] = Page(space, f"{service}:{notebook_space.PROXY_PORT}")
        pages[HUB_PAGE] = Page(space, f"{service}:{notebook_space.HUB_PORT}", password=notebooks.key)
    door = Door(
        settings.platform.door,
        access,
        Behind(pages, served_models(settings), _schedules(settings), settings.workloads.teams, platform.trial),
        platform.target.cluster,
        platform.target.registry,
        libraries,
        # MetalLB announces an address from a node with a pod. In Azure, packets arrive at another one.
        sees_callers=settings.infra.cluster == "kubeadm" and settings.infra.machines != "azure",
    )
    return replace(platform, outputs={**platform.outputs, **door.outputs}, door=door)


def _schedules(settings: StackSettings) -> dict[str, str]:
    """Return the cron expressions of pipelines by name."""
    return {name: each.schedule for name, each in settings.workloads.pipelines.items() if each.schedule}


def _expected(settings: PlatformSettings) -> list[str]:
    """Return what has to happen regularly. A drill needs stores of MLflow inside the stack."""
    if settings.backup is None:
        return []
    return ["backup"] if settings.tracking.database_url or settings.tracking.artifacts else ["backup", "drill"]
