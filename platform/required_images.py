"""Images that only some stacks use: the bundle may lack them."""

from __future__ import annotations

import json
from collections.abc import Iterable

import pulumi
from mlplatform.kubeflow import kubeflow_images
from mlplatform.stores import postgresql, seaweedfs

from settings.paths import cache_directory
from settings.platform import PlatformSettings


def require_images(settings: PlatformSettings, replicated: bool = False) -> None:
    """Check that the bundle has all images of the settings, before the program changes anything.

    A registry of the settings is not checked: its nodes may pull what it lacks from upstream.

    Args:
        settings: settings of the platform.
        replicated: True for a stack with replicated stores.

    Raises:
        RunError: there is a bundle, and it lacks images; the text names the images and how to add them.
    """
    index = cache_directory() / "bundle" / "bundle.json"
    if settings.registry.url or not index.is_file():
        return
    available = json.loads(index.read_text())["images"]
    if replicated:
        _require(
            "platform:stores: replicated",
            {postgresql.IMAGE, seaweedfs.IMAGE}.difference(available),
            "`make bundle` adds them. Or set platform:stores: single, which takes none of them.",
        )
    if settings.pipelines == "kubeflow":
        _require(
            "platform:pipelines: kubeflow",
            set(kubeflow_images.IMAGES.values()).difference(available),
            "`make bundle` copies them from the registries of their publishers. Without access to those, import them "
            "from files (docs/air-gap.md), or set platform:pipelines: job, which takes none of them.",
        )


def _require(setting: str, missing: Iterable[str], advice: str) -> None:
    if names := sorted(missing):
        lines = "".join(f"  {image}\n" for image in names)
        raise pulumi.RunError(f"{setting} takes images that the bundle does not have:\n{lines}{advice}")
