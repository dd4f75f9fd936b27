"""What the platform hands over to the workloads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pulumi
from mlplatform.blob_store import BlobStore, blob_store
from mlplatform.cluster import ProvisionedCluster
from mlplatform.images.image import LIBRARIES, Image
from mlplatform.job_namespace import job_engine
from mlplatform.kubeflow.kubeflow_pipelines import KubeflowPipelines
from mlplatform.mlflow import TrackingServer, tracking_process, tracking_service
from mlplatform.monitoring.monitoring import Monitoring

from infra.cluster import Cluster
from infra.local.local_process import HOST
from infra.registry import ContainerRegistry
from settings.platform import BlobSettings, PlatformSettings


@dataclass(frozen=True)
class ClusterTarget:
    """Where workloads run that are not processes of this computer, and where their images come from.

    `monitored` is whether Prometheus is there to look at them.
    """

    cluster: Cluster
    registry: ContainerRegistry
    monitored: bool = False


@dataclass(frozen=True)
class Platform:
    """A platform that is ready for workloads.

    `engine` describes the pipeline engine (see `workloads.engines.base.engine`), whose runs wait for `run_after` and
    find the tracking server at `steps_tracking_url`; `directory` is where this stack keeps data on this computer.
    `place` is where services run; None where they are processes of this computer. Where each step of a run has a pod of
    its own, `steps_image` is what it runs in. `monitoring` is what watches the cluster, if anything does. `outputs` are
    what the engine and it add to those of the stack.
    """

    engine: Mapping[str, pulumi.Input[str]]
    run_after: Sequence[pulumi.Resource]
    steps_tracking_url: pulumi.Output[str]
    tracking: TrackingServer
    blobs: BlobStore | None
    directory: Path
    place: ClusterTarget | None = None
    steps_image: pulumi.Output[str] | None = None
    monitoring: Monitoring | None = None
    outputs: Mapping[str, pulumi.Input[Any]] = field(default_factory=dict)

    @property
    def tracking_url(self) -> pulumi.Output[str]:
        return self.tracking.url


def local_platform(settings: PlatformSettings, directory: Path) -> Platform:
    """The platform of a stack without a cluster: every service a process of this computer."""
    tracking = tracking_process(settings.tracking, directory)
    return Platform(
        engine={"kind": "embedded", "directory": str(directory)},
        run_after=tracking.resources,
        steps_tracking_url=tracking.url,
        tracking=tracking,
        blobs=blob_store(settings.blobs, HOST, directory) if settings.blobs else None,
        directory=directory,
    )


def cluster_platform(
    settings: PlatformSettings, foundation: ProvisionedCluster, directory: Path, stack: str
) -> Platform:
    """The platform of a stack with a cluster: its services are in the cluster, its images in the registry.

    Raises:
        RunError: the settings ask for the emulator of Azure's storage, which pods cannot reach.
    """
    cluster, registry = foundation.cluster, foundation.registry
    libraries = Image(LIBRARIES, registry)
    tracking = tracking_service(settings.tracking, cluster, registry, libraries)
    common: dict[str, Any] = {
        "steps_tracking_url": tracking.inside_url,
        "tracking": tracking,
        "blobs": _data_sets(settings.blobs, foundation, directory),
        "directory": directory,
        "place": ClusterTarget(cluster, registry),
    }
    if settings.pipelines == "kubeflow":
        kubeflow = KubeflowPipelines(settings.kubeflow, cluster, registry, libraries, directory, stack)
        platform = Platform(
            engine=kubeflow.engine,
            run_after=[*kubeflow.run_after, *tracking.resources],
            steps_image=kubeflow.steps_image,
            outputs=kubeflow.outputs,
            **common,
        )
    else:
        engine, run_after = job_engine(cluster, registry, libraries, directory)
        platform = Platform(engine=engine, run_after=[*run_after, *tracking.resources], **common)
    return _monitored(platform, common["place"], settings) if settings.monitoring else platform


def _data_sets(settings: BlobSettings | None, foundation: ProvisionedCluster, directory: Path) -> BlobStore | None:
    """An account that the stack has made is there for the pipelines even if nothing is to be uploaded to it."""
    if settings is None and foundation.storage is None:
        return None
    return blob_store(settings or BlobSettings(), foundation.address, directory, foundation.storage, foundation.network)


def _monitored(platform: Platform, place: ClusterTarget, settings: PlatformSettings) -> Platform:
    """The same platform with Prometheus to look at it."""
    assert settings.monitoring
    kubeflow = platform.run_after if settings.pipelines == "kubeflow" else ()
    made = Monitoring(settings.monitoring, place.cluster, place.registry, kubeflow)
    return replace(
        platform, place=replace(place, monitored=True), monitoring=made, outputs={**platform.outputs, **made.outputs}
    )
