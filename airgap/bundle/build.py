"""Build or copy the missing artifacts of a bundle, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from airgap.bundle import build_requirements
from airgap.bundle.artifacts import Artifacts
from airgap.bundle.build_requirements import require_programs, require_root_for
from airgap.bundle.builders.debian_image import BuildahStore
from airgap.bundle.progress import Progress
from airgap.bundle.selection import Selection
from airgap.bundle.source_table import SourceTable
from airgap.bundle.store import Artifact, Store
from tools.bootstrap.console import SetupError, log_message


@dataclass(frozen=True)
class BuildStep:
    """A step of a build: an artifact and the function that creates it."""

    entry: str
    artifact: Artifact
    create: Callable[[Progress], None]


def check_requirements(table: SourceTable, selection: Selection) -> None:
    """Install or require the programs that the selected builds run.

    Raises:
        SetupError: a program is missing, or the user is not root.
    """
    go = [table.go[entry] for entry in selection.sources if entry in table.go]
    if selection.sources:
        require_programs(build_requirements.BUILDS_C, [library for source in go for library in source.libraries])
    if selection.built or selection.bases:
        require_root_for("Building images")
        require_programs(build_requirements.BUILDS_IMAGES)
    if selection.copied:
        require_programs(build_requirements.MOVES_IMAGES)


def build_selection(table: SourceTable, store: Store, artifacts: Artifacts, selection: Selection) -> None:
    """Build and copy the missing artifacts of the selection.

    Raises:
        SetupError: an artifact failed; names its entry. Finished artifacts stay in the cache.
    """
    with BuildahStore.temporary(store, table.epoch) as buildah:
        steps = list(_steps(artifacts, selection, buildah))
        for number, step in enumerate(steps, 1):
            name = f"{step.artifact.kind} {step.entry}"
            title = f"[{number}/{len(steps)}] {name}"
            if step.artifact.exists:
                log_message(f"{title}: already built, {_size(step.artifact)}")
                continue
            try:
                with Progress(title, name) as progress:
                    step.create(progress)
                    progress.done(f"built, {_size(step.artifact)}")
            except SetupError as error:
                raise SetupError(f"{step.entry}: {error}") from None


def _steps(artifacts: Artifacts, selection: Selection, buildah: BuildahStore) -> Iterator[BuildStep]:
    for entry in selection.sources:
        artifact = artifacts.binary_artifacts[entry]
        yield BuildStep(entry, artifact, partial(artifacts.binary_builds[entry].build, artifact))
    for entry in selection.bases:
        artifact = artifacts.base_artifacts[entry]
        yield BuildStep(entry, artifact, partial(artifacts.base_builds[entry].build, artifact))
    for entry in selection.built:
        artifact = artifacts.image_artifacts[entry]
        yield BuildStep(entry, artifact, partial(artifacts.image_builds[entry].build, artifact, buildah))
    for entry in selection.copied:
        artifact = artifacts.copy_artifacts[entry]
        yield BuildStep(entry, artifact, partial(artifacts.image_copies[entry].fetch, artifact))


def _size(artifact: Artifact) -> str:
    """Return the size of an artifact's binaries or image as text."""
    record = artifact.record()
    if "binaries" in record:
        count = sum(binary["size"] for binary in record["binaries"].values())
    else:
        count = int(record["size"])
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"
