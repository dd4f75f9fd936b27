"""What the platform hands over to the workloads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pulumi
from mlplatform.blobs import BlobStore, blob_store
from mlplatform.images import LIBRARIES, Image
from mlplatform.jobs import job_engine
from mlplatform.tracking import TrackingServer, tracking_process, tracking_service

from infra.cluster import Cluster
from infra.process import HOST
from infra.registry import Registry
from settings import Platform as PlatformSettings


@dataclass(frozen=True)
class InCluster:
    """Where workloads run that are not processes of this computer, and where their images come from."""

    cluster: Cluster
    registry: Registry


@dataclass(frozen=True)
class Platform:
    """A platform that is ready for workloads.

    `engine` describes the pipeline engine (see `workloads.engines.engine.engine`), whose runs wait for `run_after` and
    find the tracking server at `steps_tracking_url`; `directory` is where this stack keeps data on this computer.
    `place` is where services run; None where they are processes of this computer.
    """

    engine: Mapping[str, pulumi.Input[str]]
    run_after: Sequence[pulumi.Resource]
    steps_tracking_url: pulumi.Output[str]
    tracking: TrackingServer
    blobs: BlobStore | None
    directory: Path
    place: InCluster | None = None

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
    settings: PlatformSettings, cluster: Cluster, registry: Registry, directory: Path, address: str | None
) -> Platform:
    """The platform of a stack with a cluster: its services are in the cluster, its images in the registry.

    `address` is one of this computer's that pods reach, for the emulator of Azure's storage; None where there is none.

    Raises:
        RunError: the settings ask for the emulator, which pods cannot reach, or for an engine that is not there.
    """
    if settings.pipelines != "job":
        raise pulumi.RunError(f"platform:pipelines: {settings.pipelines} does not go with a cluster yet; set job")
    libraries = Image(LIBRARIES, registry)
    tracking = tracking_service(settings.tracking, cluster, registry, libraries)
    engine, run_after = job_engine(cluster, registry, libraries, directory)
    return Platform(
        engine=engine,
        run_after=[*run_after, *tracking.resources],
        steps_tracking_url=tracking.inside_url,
        tracking=tracking,
        blobs=blob_store(settings.blobs, address, directory) if settings.blobs else None,
        directory=directory,
        place=InCluster(cluster, registry),
    )
