"""What the platform hands over to the workloads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pulumi
from mlplatform.blobs import BlobStore, blob_store
from mlplatform.tracking import tracking_server

from infra.process import LocalProcess
from settings import Platform as PlatformSettings


@dataclass(frozen=True)
class Platform:
    """A platform that is ready for workloads.

    `engine` describes the pipeline engine (see `workloads.engines.engine.engine`); `directory` is where services of
    this stack keep their data on this computer.
    """

    engine: Mapping[str, str]
    tracking: LocalProcess
    blobs: BlobStore | None
    directory: Path

    @property
    def tracking_url(self) -> pulumi.Output[str]:
        return self.tracking.url


def local_platform(settings: PlatformSettings, directory: Path) -> Platform:
    """The platform of a stack without a cluster: every service a process of this computer."""
    return Platform(
        engine={"kind": "embedded", "directory": str(directory)},
        tracking=tracking_server(settings.tracking, directory),
        blobs=blob_store(settings.blobs, directory) if settings.blobs else None,
        directory=directory,
    )
