"""Deletion of the layers of earlier image builds, which buildah keeps in the cache folder."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tools.bootstrap import paths
from tools.bootstrap.console import SetupError, log_message
from tools.bootstrap.file_lock import file_lock
from tools.bootstrap.process import run_visible

DRIVERS = ("overlay", "vfs")


@dataclass(frozen=True)
class OutdatedLayers:
    """Images without a name that no kept image is built on, and the size in bytes of the layers that only they need."""

    images: list[str]
    size: int


def prune_image_layers(folder: Path, days: float, *, dry_run: bool) -> None:
    """Remove the images that a later build has replaced, and whose last layer is older than a number of days.

    Args:
        folder: the folder of the image builds; their storage is in `buildah`.
        days: the age up to which images are kept.
        dry_run: True to log the size and to remove nothing.

    Raises:
        SetupError: buildah left some of them.
    """
    oldest = datetime.now(UTC) - timedelta(days=days)
    for driver in DRIVERS:
        root = folder / "buildah" / driver
        if not root.is_dir():
            continue
        with file_lock(folder / "lock", "Another stack builds images."):
            outdated = outdated_layers(root, driver, oldest)
            if outdated.images and not dry_run:
                _remove(root, driver, outdated.images)
                if left := outdated_layers(root, driver, oldest).images:
                    raise SetupError(f"buildah left {len(left)} images in {root}")
        verb = "would be removed" if dry_run else "removed"
        log_message(f"{len(outdated.images)} images of earlier builds {verb}, {outdated.size / 1e6:.1f} MB.")


def outdated_layers(root: Path, driver: str, oldest: datetime) -> OutdatedLayers:
    """Return the images of a storage that have no name, and whose last layer is older than `oldest`.

    The layers of an image with a name are the cache of the next build. The images that consist of them stay.
    """
    images = _read(root / f"{driver}-images" / "images.json")
    layers = {each["id"]: each for each in _read(root / f"{driver}-layers" / "layers.json")}

    def chain(image: dict[str, Any]) -> Iterator[str]:
        layer = image.get("layer", "")
        while layer in layers:
            yield layer
            layer = layers[layer].get("parent", "")

    def is_old(image: dict[str, Any]) -> bool:
        last = next(chain(image), None)
        return last is not None and datetime.fromisoformat(layers[last]["created"]) < oldest

    needed = {layer for image in images if image.get("names") or not is_old(image) for layer in chain(image)}
    outdated = [image for image in images if not image.get("names") and is_old(image) and image["layer"] not in needed]
    unused = {layer for image in outdated for layer in chain(image)} - needed
    # buildah removes an image only after those that are built on it.
    outdated.sort(key=lambda image: len(list(chain(image))), reverse=True)
    return OutdatedLayers([image["id"] for image in outdated], sum(layers[each].get("diff-size", 0) for each in unused))


def _read(file: Path) -> list[dict[str, Any]]:
    content: list[dict[str, Any]] = json.loads(file.read_text()) if file.exists() else []
    return content


def _remove(root: Path, driver: str, images: list[str]) -> None:
    run_folder = root.with_name(f"{driver}-run")
    options: list[str | Path] = ["--root", root, "--runroot", run_folder, "--storage-driver", driver]
    log = paths.cache_directory() / "logs" / "images.log"
    run_visible(["buildah", *options, "rmi", "--force", *images], log=log)
