"""Digests of images: Kubernetes objects name each image whose content is known by its digest, too."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from typing import Any

import pulumi

from airgap.bundle.index import INDEX
from settings.paths import VERSIONS, cache_directory
from settings.stack import StackSettings


def pin_images(settings: StackSettings) -> None:
    """Add the digests to the images of all Kubernetes objects that this program creates from now on."""
    digests = dict(VERSIONS["digests"])
    # Images of the same name may have another content in a registry of the settings.
    if settings.platform.registry.url is None and not (settings.infra.azure and settings.infra.azure.registry):
        digests |= _bundled_digests()
    pinned = {image: f"{image}@{digest}" for image, digest in digests.items()}
    pulumi.runtime.register_stack_transformation(partial(_transform, pinned))


def _bundled_digests() -> dict[str, str]:
    """Return the digests of the bundle's images by their names, which none has before the bundle exists."""
    try:
        images = json.loads((cache_directory() / "bundle" / INDEX).read_text())["images"]
    except FileNotFoundError:
        return {}
    return {name: image["digest"] for name, image in images.items()}


def _transform(
    pinned: Mapping[str, str], args: pulumi.ResourceTransformationArgs
) -> pulumi.ResourceTransformationResult | None:
    if not args.type_.startswith("kubernetes:"):
        return None
    return pulumi.ResourceTransformationResult(_pinned(args.props, pinned), args.opts)


def _pinned(value: Any, pinned: Mapping[str, str]) -> Any:
    """Return the value, with a digest at each text that is the name of an image: also arguments and variables."""
    match value:
        case str():
            return pinned.get(value, value)
        case dict():
            return {key: _pinned(each, pinned) for key, each in value.items()}
        case list() | tuple():
            return [_pinned(each, pinned) for each in value]
    return value
