"""The builds of all entries of the source table, and their artifacts in the cache."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from airgap.bundle.builders.c_program import CProgramBuild
from airgap.bundle.builders.debian import DebianBuild
from airgap.bundle.builders.debian_image import ImageBuild
from airgap.bundle.builders.go_program import GoBuild, GoToolchain
from airgap.bundle.builders.upstream_image import ImageCopy
from airgap.bundle.builders.wheel_program import WheelBuild
from airgap.bundle.source_table import MODULES, SCRATCH, SourceTable
from airgap.bundle.store import RECORD, Artifact, Store
from tools.bootstrap.paths import pinned_versions

KINDS = ("binaries", "bases", "images")


@dataclass(frozen=True)
class Artifacts:
    """The build of each entry, and its artifact.

    Copies are keyed by names of [image] and by references of [upstream].
    """

    binary_builds: dict[str, CProgramBuild | GoBuild | WheelBuild]
    base_builds: dict[str, DebianBuild]
    image_builds: dict[str, ImageBuild]
    image_copies: dict[str, ImageCopy]
    binary_artifacts: dict[str, Artifact]
    base_artifacts: dict[str, Artifact]
    image_artifacts: dict[str, Artifact]
    copy_artifacts: dict[str, Artifact]

    @classmethod
    def of(cls, table: SourceTable, store: Store, go: GoToolchain, modules: Path = MODULES) -> Artifacts:
        """Compute the key of every artifact from its input files, without building anything."""
        binary_builds: dict[str, CProgramBuild | GoBuild | WheelBuild] = {
            entry: CProgramBuild(table, entry, c) for entry, c in table.c.items()
        }
        binary_builds |= {entry: GoBuild(go, table, entry, source, modules) for entry, source in table.go.items()}
        binary_builds |= {entry: WheelBuild(entry, wheel) for entry, wheel in table.wheel.items()}
        base_builds = {entry: DebianBuild(table, entry, base) for entry, base in table.debian.items()}
        binary_artifacts = {entry: build.artifact(store) for entry, build in binary_builds.items()}
        base_artifacts = {entry: build.artifact(store) for entry, build in base_builds.items()}
        image_builds = {
            name: ImageBuild(table, name, image, binary_artifacts, base_artifacts)
            for name, image in table.image.items()
        }
        references = {name: table.upstream_name(name) for name in table.image}
        references |= {reference: reference for reference in table.upstream.images}
        digests = pinned_versions()["digests"]
        image_copies = {
            name: ImageCopy(reference, go.architecture, digests.get(reference))
            for name, reference in references.items()
        }
        return cls(
            binary_builds,
            base_builds,
            image_builds,
            image_copies,
            binary_artifacts,
            base_artifacts,
            {name: build.artifact(store) for name, build in image_builds.items()},
            {name: copy.artifact(store) for name, copy in image_copies.items()},
        )

    def all(self) -> Iterator[Artifact]:
        """Yield each artifact, built or not."""
        for table in (self.binary_artifacts, self.base_artifacts, self.image_artifacts, self.copy_artifacts):
            yield from table.values()

    def mark_used(self) -> None:
        """Record that this version of the program uses its artifacts now; `prune` keeps them for its days."""
        for artifact in self.all():
            if artifact.exists:
                os.utime(artifact.folder / RECORD)

    def image(self, name: str, prefer_copy: bool) -> Artifact | None:
        """Return the existing image of a name of [image] or [upstream]; of two, the preferred one."""
        candidates = [
            self.copy_artifacts[name],
            *([self.image_artifacts[name]] if name in self.image_artifacts else []),
        ]
        if not prefer_copy:
            candidates.reverse()
        return next((artifact for artifact in candidates if artifact.exists), None)

    def base_of(self, name: str) -> Artifact | None:
        """Return the root file system under an image of [image], or None for an image from scratch."""
        base = self.image_builds[name].source.base
        return None if base == SCRATCH else self.base_artifacts[base]
