"""The platform that the workloads of a stack use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pulumi
from mlplatform.blob_store import BlobStore, blob_store
from mlplatform.cluster_provisioning import ProvisionedCluster
from mlplatform.engine_config import EmbeddedEngineConfig, EngineConfig
from mlplatform.images.image import LIBRARIES, Image
from mlplatform.job_namespace import job_engine
from mlplatform.kubeflow.kubeflow_pipelines import KubeflowPipelines
from mlplatform.mlflow import MlflowServer, TrackingServer, tracking_process
from mlplatform.monitoring.monitoring import Monitoring
from mlplatform.step_egress import step_egress

from infra.cluster import Cluster
from infra.local.local_process import HOST
from infra.registry import ContainerRegistry
from settings.platform import BlobSettings, PlatformSettings


@dataclass(frozen=True)
class ClusterTarget:
    """Cluster for the services of the workloads, and the registry of their images.

    `monitored` is True if Prometheus scrapes the cluster.
    """

    cluster: Cluster
    registry: ContainerRegistry
    monitored: bool = False


@dataclass(frozen=True)
class Platform:
    """Services that the workloads of a stack use.

    Args:
        engine: configuration of the pipeline engine.
        run_after: resources that each run waits for.
        steps_tracking_url: the address of MLflow for the steps of a run.
        directory: the folder of this computer for the data of this stack.
        target: the cluster for services; None if services are processes of this computer.
        steps_image: the image of the steps; None if the engine needs no image for each step.
        monitoring: None if Prometheus is not installed.
        outputs: stack outputs of the engine and of monitoring.
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
    )


def cluster_platform(
    settings: PlatformSettings, provisioned: ProvisionedCluster, directory: Path, stack: str
) -> Platform:
    """Install the services of a stack in its cluster, with images from its registry.

    Raises:
        RunError: the settings select the emulator of Azure Blob Storage, which pods cannot reach.
    """
    cluster, registry = provisioned.cluster, provisioned.registry
    libraries = Image(LIBRARIES, registry)
    tracking = MlflowServer(settings.tracking, cluster, registry, libraries).server
    blobs = _data_sets(settings.blobs, provisioned, directory)
    engine: EngineConfig[pulumi.Input[str]]
    outputs: Mapping[str, pulumi.Input[Any]] = {}
    egress = step_egress(cluster, settings.egress)
    if settings.pipelines == "kubeflow":
        kubeflow = KubeflowPipelines(settings.kubeflow, cluster, registry, libraries, directory, stack, egress)
        engine, run_after, steps_image, outputs = (
            kubeflow.engine,
            kubeflow.run_after,
            kubeflow.steps_image,
            kubeflow.outputs,
        )
    else:
        engine, run_after = job_engine(cluster, registry, libraries, directory, egress)
        steps_image = None
    platform = Platform(
        engine=engine,
        run_after=[*run_after, *tracking.resources],
        steps_tracking_url=tracking.inside_url,
        tracking=tracking,
        blobs=blobs,
        directory=directory,
        target=ClusterTarget(cluster, registry),
        steps_image=steps_image,
        outputs=outputs,
    )
    return _with_monitoring(platform, settings) if settings.monitoring else platform


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
    prometheus = Monitoring(settings.monitoring, platform.target.cluster, platform.target.registry, kubeflow)
    return replace(
        platform,
        target=replace(platform.target, monitored=True),
        monitoring=prometheus,
        outputs={**platform.outputs, **prometheus.outputs},
    )
