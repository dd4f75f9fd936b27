"""The namespace that the `job` engine runs pipelines in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pulumi
from mlplatform.images.image import WORKLOADS, Image
from mlplatform.k8s.namespace import ANY_ADDRESS, DNS, namespace

from infra.cluster import Cluster
from infra.registry import ContainerRegistry

NAMESPACE = "mlplatform-pipelines"
PODS = {"app.kubernetes.io/name": "pipeline-run"}
"""Labels of what the engine makes."""


def job_engine(
    cluster: Cluster, registry: ContainerRegistry, libraries: Image, directory: Path
) -> tuple[dict[str, pulumi.Input[str]], list[pulumi.Resource]]:
    """The engine as workloads describe it, and what a run waits for.

    Steps read data from wherever the pipeline's author says.
    """
    room = namespace(NAMESPACE, cluster, registry)
    image = Image(WORKLOADS, registry, pulumi.ResourceOptions(depends_on=[libraries]))
    policy = room.allow("pipeline-run", PODS, egress=[DNS, ANY_ADDRESS])
    properties: Mapping[str, pulumi.Input[str]] = {
        "kind": "job",
        "kubeconfig": cluster.kubeconfig,
        "namespace": NAMESPACE,
        "image": image.reference,
        "directory": str(directory),
    }
    return dict(properties), [*room.resources, policy]
