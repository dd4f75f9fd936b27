"""Digests in Kubernetes objects, from the bundle's index and from versions.toml."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes
import pytest
from mlplatform.images.pinned_images import pin_images

from settings.paths import VERSIONS
from settings.stack import StackSettings
from tests.preview.graph import run

SERVER = f"registry.k8s.io/metrics-server/metrics-server:{VERSIONS['metrics-server']['version']}"
OTHER = "ghcr.io/example/other:1.0"
Images = Callable[[dict[str, Any]], list[Any]]
BUNDLED, KNOWN = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"


@pytest.fixture(autouse=True)
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the index of a bundle with one image."""
    monkeypatch.setenv("MLPLATFORM_CACHE", str(tmp_path))
    monkeypatch.setitem(VERSIONS, "digests", {OTHER: KNOWN, SERVER: KNOWN})
    index = tmp_path / "bundle" / "bundle.json"
    index.parent.mkdir()
    index.write_text(json.dumps({"images": {SERVER: {"digest": BUNDLED}}}))
    return index


@pytest.fixture
def images(monkeypatch: pytest.MonkeyPatch) -> Images:
    """Return a function that returns the images and an argument of a pod with these settings."""
    registered: list[Any] = []
    # The stack of the mocks is that of all tests -> the pod alone gets the transformation.
    monkeypatch.setattr(pulumi.runtime, "register_stack_transformation", registered.append)

    def create(config: dict[str, Any]) -> list[Any]:
        containers = [{"name": "a", "image": SERVER}, {"name": "b", "image": OTHER, "args": [OTHER, "--other"]}]

        def program() -> None:
            pin_images(StackSettings.model_validate(config))
            options = pulumi.ResourceOptions(transformations=registered)
            kubernetes.core.v1.Pod("pod", spec={"containers": containers}, opts=options)

        graph, _ = run(program)
        server, other = graph.of("Pod")["pod"]["spec"]["containers"]
        return [server["image"], other["image"], *other["args"]]

    return create


def test_objects_with_the_registry_of_the_bundle_have_its_digests(images: Images) -> None:
    other = f"{OTHER}@{KNOWN}"
    assert images({}) == [f"{SERVER}@{BUNDLED}", other, other, "--other"]


def test_objects_before_the_bundle_exists_have_known_digests_only(bundle: Path, images: Images) -> None:
    bundle.unlink()
    assert images({})[0] == f"{SERVER}@{KNOWN}"


def test_objects_with_a_registry_of_the_settings_do_not_have_the_digests_of_the_bundle(images: Images) -> None:
    registry = {"url": "https://registry.example.com", "username": "who", "password": "word"}
    assert images({"platform": {"registry": registry}})[0] == f"{SERVER}@{KNOWN}"
