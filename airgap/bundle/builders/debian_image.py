"""Images of the source table, built by buildah from generated Dockerfiles and stored as OCI layouts."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airgap.bundle.builders.debian import ROOTFS
from airgap.bundle.builders.go_program import UPSTREAM
from airgap.bundle.progress import Progress
from airgap.bundle.source_table import SCRATCH, ImageFile, ImageSource, SourceTable
from airgap.bundle.store import Artifact, Store
from tools.bootstrap.process import run_visible

LAYOUT = "layout"
TAG = "bundle"
"""The folder of an image's OCI layout, and the tag inside it."""
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def dockerfile(image: ImageSource, base: str) -> str:
    """Return the Dockerfile of an image; the folder `root/` of the build context holds the image's files."""
    lines = [f"FROM {base}"]
    if image.files:
        lines.append("COPY --chown=0:0 root/ /")
    lines += [f"RUN {command}" for command in image.run]
    lines += [f"ENV PATH={PATH}", f"WORKDIR {image.workdir}", f"USER {image.user}"]
    if image.entrypoint:
        lines.append(f"ENTRYPOINT {json.dumps(image.entrypoint)}")
    if image.command:
        lines.append(f"CMD {json.dumps(image.command)}")
    return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class ImageBuild:
    """The build of an entry of [image] from finished artifacts: binaries and bases by entry."""

    table: SourceTable
    entry: str
    source: ImageSource
    binaries: Mapping[str, Artifact]
    bases: Mapping[str, Artifact]

    def artifact(self, store: Store) -> Artifact:
        """Return the artifact, keyed by the keys of its contents."""
        sources = {ImageFile.parse(text).entry for text in self.source.files.values()}
        parts = {
            "entry": self.source.model_dump(),
            "dockerfile": dockerfile(self.source, SCRATCH),
            "date": self.table.epoch,
            "binaries": {name: self.binaries[name].key for name in sorted(sources)},
            "base": self.bases[self.source.base].key if self.source.base != SCRATCH else None,
        }
        return store.artifact("images", self.entry, parts)

    def build(self, artifact: Artifact, buildah: BuildahStore, progress: Progress) -> None:
        """Build the image into the cache.

        Raises:
            SetupError: buildah failed.
        """
        artifact.log.unlink(missing_ok=True)
        with artifact.building() as (partial, record):
            base = SCRATCH
            if self.source.base != SCRATCH:
                progress.show(f"unpacking the base {self.source.base}")
                base = buildah.base(self.bases[self.source.base], artifact.log)
            context = partial / "context"
            context.mkdir()
            self._lay_out(context / "root", artifact.log)
            (context / "Dockerfile").write_text(dockerfile(self.source, base))
            progress.show("building")
            buildah.build(context, name := f"localhost/{self.entry}", artifact.log)
            buildah.save(name, partial / LAYOUT, artifact.log)
            (context / "Dockerfile").rename(partial / "Dockerfile")
            shutil.rmtree(context)
            record |= {"upstream": self.table.upstream_name(self.entry), "origin": "built"}
            record |= describe_layout(partial / LAYOUT)

    def _lay_out(self, root: Path, log: Path) -> None:
        root.mkdir()
        for path, text in self.source.files.items():
            source, target = ImageFile.parse(text), root / path.removeprefix("/")
            folder = self.binaries[source.entry].folder
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / source.binary if source.binary else folder / UPSTREAM / str(source.path), target)
            is_program = source.binary is not None or target.read_bytes()[:2] == b"#!"
            target.chmod(0o755 if is_program else 0o644)
            if path in self.source.capabilities:
                run_visible(["setcap", self.source.capabilities[path], target], log=log)


@dataclass(frozen=True)
class BuildahStore:
    """buildah with temporary storage."""

    storage: Path
    epoch: int

    @classmethod
    @contextmanager
    def temporary(cls, store: Store, epoch: int) -> Iterator[BuildahStore]:
        """Yield a buildah whose storage is removed with the block; remove the storage of a killed build first."""
        storage = store.root / "buildah"
        shutil.rmtree(storage, ignore_errors=True)
        storage.mkdir(parents=True)
        try:
            yield cls(storage, epoch)
        finally:
            shutil.rmtree(storage, ignore_errors=True)

    def base(self, artifact: Artifact, log: Path) -> str:
        """Import a root file system as a base image, once; return its name."""
        name, context = f"localhost/base-{artifact.key}", self.storage / f"base-{artifact.key}"
        if not context.exists():
            context.mkdir()
            os.link(artifact.folder / ROOTFS, context / ROOTFS)
            (context / "Dockerfile").write_text(f"FROM scratch\nADD {ROOTFS} /\n")
            self.build(context, name, log)
        return name

    def build(self, context: Path, name: str, log: Path) -> None:
        """Build the Dockerfile in the folder `context`."""
        # A fixed date in layers and history -> the same files give the same digest.
        options = ["--isolation", "chroot", "--format", "oci", "--timestamp", str(self.epoch), "--pull-never"]
        self._run(log, "bud", *options, "--tag", name, str(context))

    def save(self, name: str, layout: Path, log: Path) -> None:
        """Write an image as an OCI layout."""
        self._run(log, "push", name, f"oci:{layout}:{TAG}")

    def _run(self, log: Path, command: str, *arguments: str) -> None:
        root, runroot = str(self.storage / "root"), str(self.storage / "run")
        storage_options = ["--root", root, "--runroot", runroot, "--storage-driver", "vfs"]
        run_visible(["buildah", *storage_options, command, *arguments], log=log)


def describe_layout(layout: Path) -> dict[str, Any]:
    """Return digest and size in bytes of the image in an OCI layout."""
    manifest = json.loads((layout / "index.json").read_text())["manifests"][0]
    blobs = (layout / "blobs" / "sha256").iterdir()
    return {"digest": manifest["digest"], "size": sum(blob.stat().st_size for blob in blobs)}
