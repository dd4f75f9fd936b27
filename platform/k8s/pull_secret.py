"""The pull secret: the credentials with which the kubelet pulls images from the private registry."""

from __future__ import annotations

import pulumi
import pulumi_kubernetes as kubernetes

from infra.registry import ContainerRegistry, docker_config

NAME = "registry"


def pull_secret(
    name: str, namespace: pulumi.Input[str], registry: ContainerRegistry, opts: pulumi.ResourceOptions
) -> kubernetes.core.v1.Secret:
    """Create the Secret `registry` in a namespace, of type kubernetes.io/dockerconfigjson."""
    content: pulumi.Output[str] = pulumi.Output.all(
        registry=registry.host, username=registry.username, password=registry.password
    ).apply(lambda known: docker_config(**known))
    return kubernetes.core.v1.Secret(
        name,
        metadata={"name": NAME, "namespace": namespace},
        type="kubernetes.io/dockerconfigjson",
        string_data={".dockerconfigjson": content},
        opts=opts,
    )
