"""A Kubernetes cluster as the layers above it see one, wherever it came from."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes

MANAGED = {"app.kubernetes.io/managed-by": "mlplatform"}
"""A label that tells what this program has put into a cluster from what was there."""
METRICS_API = "v1beta1.metrics.k8s.io"
"""What metrics-server answers, and autoscalers ask."""

ANSWER_SECONDS = 180


@dataclass(frozen=True)
class Cluster:
    """A cluster whose API server answers.

    `kubeconfig` is secret. `nodes` is a list of {"name", "role", "address", "external_address", "version"}: the
    addresses for other nodes, and for this computer. What is put into the cluster waits for `depends_on` and claims
    volumes of `storage_class`. Nothing in it has to be deleted when `resource` is: the cluster goes as a whole.
    """

    name: str
    kubeconfig: pulumi.Output[str]
    provider: kubernetes.Provider
    endpoint: pulumi.Output[str]
    nodes: pulumi.Output[list[dict[str, Any]]]
    depends_on: Sequence[pulumi.Resource] = field(default_factory=tuple)
    resource: pulumi.Resource | None = None
    storage_class: pulumi.Input[str] | None = None
    parent: pulumi.Resource | None = None

    def under(self, parent: pulumi.Resource) -> Cluster:
        """Return this cluster with another parent for the resources that are put into it."""
        return replace(self, parent=parent)

    def after(self, *depends_on: pulumi.Resource) -> Cluster:
        """The same cluster, for what also waits for these."""
        return replace(self, depends_on=[*self.depends_on, *depends_on])

    def options(self, *depends_on: pulumi.Resource) -> pulumi.ResourceOptions:
        """Options of a resource in this cluster that also waits for `depends_on`."""
        return pulumi.ResourceOptions(
            parent=self.parent,
            provider=self.provider,
            depends_on=[*self.depends_on, *depends_on],
            deleted_with=self.resource,
        )


def wait_for_api_server(kubeconfig: pulumi.Output[str]) -> pulumi.Output[str]:
    """The same, once the API server answers: what is in a cluster that does not would pass for unchanged.

    A preview takes it as it is.

    Raises:
        RunError: the API server has not answered for three minutes, in which its machine may be starting.
    """
    if pulumi.runtime.is_dry_run():
        return kubeconfig
    return kubeconfig.apply(lambda config: asyncio.to_thread(_asked, config))


def _asked(kubeconfig: str) -> str:
    import yaml
    from kubernetes import client, config  # type: ignore[import-untyped]

    api = client.VersionApi(config.new_client_from_config_dict(yaml.safe_load(kubeconfig)))
    deadline = time.monotonic() + ANSWER_SECONDS
    while True:
        try:
            api.get_code(_request_timeout=5)
            return kubeconfig
        except Exception as error:  # whatever keeps it from answering
            if time.monotonic() > deadline:
                host = api.api_client.configuration.host
                raise pulumi.RunError(f"the API server at {host} does not answer: {error}") from None
            time.sleep(2)


def provider(
    name: str,
    kubeconfig: pulumi.Input[str],
    deleted_with: pulumi.Resource | None = None,
    parent: pulumi.Resource | None = None,
) -> kubernetes.Provider:
    """The provider of a cluster.

    Its identity is the constant `name`: with the kubeconfig still unknown, as in a first preview, nothing in the
    cluster is planned to be replaced. A refresh does not forget what is in a cluster that does not answer.
    """
    return kubernetes.Provider(
        name,
        kubeconfig=kubeconfig,
        cluster_identifier=name,
        skip_update_unreachable=True,
        opts=pulumi.ResourceOptions(parent=parent, deleted_with=deleted_with),
    )
