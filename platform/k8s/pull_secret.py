"""The pull secret: the credentials with which the kubelet pulls images from the private registry."""

from __future__ import annotations

import base64
import json

import pulumi
import pulumi_kubernetes as kubernetes

from infra.registry import ContainerRegistry

NAME = "registry"


def pull_secret(
    name: str, namespace: pulumi.Input[str], registry: ContainerRegistry, opts: pulumi.ResourceOptions
) -> kubernetes.core.v1.Secret:
    """Create the Secret `registry` in a namespace, of type kubernetes.io/dockerconfigjson."""
    content: pulumi.Output[str] = pulumi.Output.all(
        host=registry.host, user=registry.username, password=registry.password
    ).apply(_docker_config)
    return kubernetes.core.v1.Secret(
        name,
        metadata={"name": NAME, "namespace": namespace},
        type="kubernetes.io/dockerconfigjson",
        string_data={".dockerconfigjson": content},
        opts=opts,
    )


def _docker_config(registry: dict[str, str]) -> str:
    """Return the configuration file that `docker login` writes."""
    login = base64.b64encode(f"{registry['user']}:{registry['password']}".encode()).decode()
    return json.dumps({"auths": {registry["host"].partition("/")[0]: {"auth": login}}})
