"""Namespace for the pipeline runs of the engine `job`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pulumi
from mlplatform.engine_config import JobEngineConfig
from mlplatform.images.image import WORKLOADS, Image
from mlplatform.k8s.namespace import ANY_ADDRESS, DNS, Namespace, Rule, namespace
from mlplatform.k8s.quota import quota

from infra.cluster import Cluster
from infra.registry import ContainerRegistry

NAMESPACE = "mlplatform-pipelines"
PODS = {"app.kubernetes.io/name": "pipeline-run"}
"""Labels of the objects that the engine creates."""
DASK = {"mlplatform/dask": "true"}
"""Further label of the pods of runs that share their work with workers of Dask."""
RUN_POLICY = "pipeline-run"
"""Name of the network policy of runs."""


def job_engine(
    cluster: Cluster,
    registry: ContainerRegistry,
    libraries: Image,
    directory: Path,
    egress: Sequence[pulumi.Input[Rule]] = (DNS, ANY_ADDRESS),
) -> tuple[JobEngineConfig[pulumi.Input[str]], list[pulumi.Resource]]:
    """Create the namespace and the image of the runs.

    The network policy allows the connections of `egress`: pipelines read data from these addresses.

    Returns:
        The configuration of the engine, and the resources that each run waits for.
    """
    runs = namespace(NAMESPACE, cluster, registry)
    image = Image(WORKLOADS, registry, pulumi.ResourceOptions(depends_on=[libraries]))
    policies = allow_runs(runs, RUN_POLICY, egress)
    config: JobEngineConfig[pulumi.Input[str]] = JobEngineConfig(
        kubeconfig=cluster.kubeconfig, namespace=NAMESPACE, image=image.reference, directory=str(directory)
    )
    return config, [*runs.resources, *policies, *quota(runs, "services", "persistentvolumeclaims")]


def allow_runs(runs: Namespace, name: str, egress: Sequence[pulumi.Input[Rule]]) -> list[pulumi.Resource]:
    """Allow the connections of the pods of runs.

    A run and its workers of Dask connect to each other at any port. The scheduler runs code for all who reach it:
    no other pod does.

    Args:
        runs: the namespace of the runs.
        name: the name of the policy.
        egress: addresses that steps may connect to.
    """
    workers = [{"podSelector": {"matchLabels": DASK}}]
    return [
        runs.allow(name, PODS, egress=egress),
        runs.allow(f"{name}-dask", DASK, ingress=[{"from": workers}], egress=[{"to": workers}]),
    ]
