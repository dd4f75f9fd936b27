"""Logins of an existing registry."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pulumi
import pytest
from mlplatform.images.image import LIBRARIES, Image
from mlplatform.k8s.pull_secret import pull_secret
from pulumi.runtime import rpc

from infra.registry import container_registry
from settings.platform import RegistrySettings
from tests.preview.graph import run

NODES = {"url": "https://harbor.example/team", "username": "robot$nodes", "password": "reads"}


@pytest.mark.parametrize(
    ("builder", "pushes"),
    [({}, ("robot$nodes", "reads")), ({"builder": {"username": "ci", "password": "writes"}}, ("ci", "writes"))],
)
def test_images_are_pushed_by_the_builder_and_pulled_by_the_nodes(
    builder: dict[str, Any], pushes: tuple[str, str]
) -> None:
    def program() -> None:
        registry = container_registry(RegistrySettings.model_validate(NODES | builder), None, Path("/nowhere"), ())
        Image(LIBRARIES, registry)
        pull_secret("pull", "default", registry, pulumi.ResourceOptions())

    graph, _ = run(program)
    (image,) = graph.of("Image").values()
    assert (image["username"], rpc.unwrap_rpc_secret(image["password"])) == pushes
    config = rpc.unwrap_rpc_secret(graph.of("Secret")["pull"]["stringData"])[".dockerconfigjson"]
    assert base64.b64decode(json.loads(config)["auths"]["harbor.example"]["auth"]) == b"robot$nodes:reads"
