"""Deletion of images that `up` has built and pushed, that a later build has replaced, and that no stack names."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airgap.bundle import build_requirements
from airgap.bundle.build_requirements import require_programs
from airgap.bundle.registry import bundle_registry
from airgap.bundle.store import SECONDS_OF_A_DAY, Store, StoreRule
from tools.bootstrap import paths
from tools.bootstrap.console import log_message
from tools.bootstrap.process import run_visible

BUILT = "mlplatform"
"""Repositories of the images that `up` builds are below this name."""


@dataclass(frozen=True)
class PushedImage:
    """Image in the registry's files; `pushed` is in seconds since 1970."""

    repository: str
    tag: str
    digest: str
    pushed: float


def prune_built_images(store: Store, rule: StoreRule, *, dry_run: bool) -> list[PushedImage]:
    """Remove the replaced images that the rule does not keep; return and log them.

    An image stays if a stack of this computer names it in its state. All images stay if a stack has a registry here,
    and its state is elsewhere.
    """
    storage = _Storage(bundle_registry.home(store) / "data" / "docker" / "registry" / "v2")
    images = storage.images()
    if not images:
        return []
    if elsewhere := _registries_with_state_elsewhere():
        log_message(
            "The images in the registry stay: the state of stacks with a registry is not on this computer. If they are "
            f"gone, delete {', '.join(str(folder) for folder in elsewhere)}"
        )
        return []
    outdated = _outdated(images, rule, "".join(file.read_text() for file in _states()))
    size = storage.size_of_only({each.digest for each in outdated})
    for each in outdated:
        log_message(f"{each.repository}:{each.tag}")
    if not dry_run:
        _delete(store, outdated)
    verb = "would be removed" if dry_run else "removed"
    log_message(f"{len(outdated)} images in the registry {verb}, {size / 1e6:.1f} MB.")
    return outdated


@dataclass(frozen=True)
class _Storage:
    """Files of a registry, in the layout of its driver `filesystem`."""

    root: Path

    def images(self) -> list[PushedImage]:
        """Return all tagged images that `up` has built."""
        links = sorted((self.root / "repositories" / BUILT).glob("*/_manifests/tags/*/current/link"))
        images = [
            PushedImage(f"{BUILT}/{link.parents[4].name}", link.parents[1].name, link.read_text(), link.stat().st_mtime)
            for link in links
        ]
        return [image for image in images if image.digest]  # a full disk leaves empty files

    def size_of_only(self, digests: set[str]) -> int:
        """Return the size in bytes of the layers that only the images with these digests have."""
        revisions = (self.root / "repositories").glob("**/_manifests/revisions/sha256/*/link")
        others = {link.read_text() for link in revisions} - digests
        kept = {blob for digest in others for blob in self._blobs(digest)}
        unused = {blob: size for digest in digests for blob, size in self._blobs(digest).items() if blob not in kept}
        return sum(unused.values())

    def _blobs(self, digest: str) -> dict[str, int]:
        """Return the digests and sizes of an image's configuration and layers.

        The index of several images has none, and so has a manifest that a killed push has left unfinished.
        """
        algorithm, _, number = digest.partition(":")
        file = self.root / "blobs" / algorithm / number[:2] / number / "data"
        try:
            manifest: dict[str, Any] = json.loads(file.read_text())
        except (OSError, ValueError):
            return {}
        parts = [*manifest.get("layers", []), *([manifest["config"]] if "config" in manifest else [])]
        return {part["digest"]: part["size"] for part in parts}


def _outdated(images: Iterable[PushedImage], rule: StoreRule, states: str) -> list[PushedImage]:
    """Return the images that neither the rule nor the text of the states keeps.

    The newest image of a repository is in use, and is not one of those that the rule keeps.
    """
    repositories: defaultdict[str, list[PushedImage]] = defaultdict(list)
    for image in images:
        repositories[image.repository].append(image)
    oldest = time.time() - rule.days * SECONDS_OF_A_DAY
    kept, replaced = set(), []
    for pushed in repositories.values():
        pushed.sort(key=lambda image: image.pushed, reverse=True)
        for rank, image in enumerate(pushed):
            if rank <= rule.newest or image.pushed >= oldest or image.digest in states:
                kept.add((image.repository, image.digest))
            else:
                replaced.append(image)
    # A registry deletes a digest with all its tags.
    return [image for image in replaced if (image.repository, image.digest) not in kept]


def _states() -> list[Path]:
    """Return the states in the backend that this computer uses without a backend of the user."""
    return sorted((paths.cache_directory() / "state" / ".pulumi" / "stacks").glob("**/*.json"))


def _registries_with_state_elsewhere() -> list[Path]:
    known = {file.stem for file in _states()}
    folders = sorted((paths.cache_directory() / "stacks").glob("*/registry/"))
    return [folder for folder in folders if folder.parent.name not in known]


def _delete(store: Store, images: Iterable[PushedImage]) -> None:
    """Delete the images, and all layers that no image has, while no other process pushes.

    An earlier command may have been killed between the two.
    """
    require_programs(build_requirements.MOVES_IMAGES)
    log = store.root / "logs" / "prune.log"
    with bundle_registry.writable(store, alone=True) as own:
        options: list[str | Path] = ["--authfile", own.authfile, "--cert-dir", own.certificates]
        for repository, digest in sorted({(image.repository, image.digest) for image in images}):
            run_visible(["skopeo", "delete", *options, f"docker://{own.host}/{repository}@{digest}"], log=log)
        program = bundle_registry.program(store)
        assert program is not None, "the registry runs"
        run_visible([program, "garbage-collect", own.folder / "config.yml"], log=log)
