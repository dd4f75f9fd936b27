"""The interface of a Kubernetes cluster to the layers above, for clusters from any source."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypedDict

import pulumi
import pulumi_kubernetes as kubernetes

from infra.retry import poll

MANAGED = {"app.kubernetes.io/managed-by": "mlplatform"}
"""Label of the objects that this program creates in a cluster."""
METRICS_API = "v1beta1.metrics.k8s.io"
"""The APIService of metrics-server, which autoscalers read."""

ANSWER_SECONDS = 180
"""Time in which the machine of an API server may start."""
POLL_SECONDS = 2


class Node(TypedDict):
    """A node of a cluster, as in the stack output `nodes`.

    Other nodes connect to `address`, this computer to `external_address`.
    """

    name: str
    role: str
    address: str
    external_address: str
    version: str


@dataclass(frozen=True)
class Cluster:
    """A cluster whose API server responds.

    `kubeconfig` is secret. Resources in the cluster wait for `depends_on` and claim volumes of `storage_class`. When
    `resource` is deleted, the whole cluster ends, so Pulumi deletes nothing inside it.

    Each object gets `labels`. `claim_classes` are the storage classes of claims that exist, by `namespace/name`; such a
    claim keeps its class. With `retain_volumes`, claims and their namespaces stay in the cluster when Pulumi deletes
    them. `api_addresses` are addresses of the API server for pods, in addition to those of the nodes. With
    `verified_kubelets`, the cluster's certificate authority signs the serving certificates of kubelets.
    """

    name: str
    kubeconfig: pulumi.Output[str]
    provider: kubernetes.Provider
    endpoint: pulumi.Output[str]
    nodes: pulumi.Output[list[Node]]
    depends_on: Sequence[pulumi.Resource] = field(default_factory=tuple)
    resource: pulumi.Resource | None = None
    storage_class: pulumi.Input[str] | None = None
    parent: pulumi.Resource | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    claim_classes: pulumi.Input[Mapping[str, str]] = field(default_factory=dict)
    retain_volumes: bool = False
    api_addresses: pulumi.Input[Sequence[str]] = ()
    verified_kubelets: bool = False

    def under(self, parent: pulumi.Resource) -> Cluster:
        """Return this cluster with another parent for the resources in it."""
        return replace(self, parent=parent)

    def after(self, *depends_on: pulumi.Resource) -> Cluster:
        """Return this cluster with more dependencies for its resources."""
        return replace(self, depends_on=[*self.depends_on, *depends_on])

    def options(self, *depends_on: pulumi.Resource) -> pulumi.ResourceOptions:
        """Return the options of a resource in this cluster that also waits for `depends_on`."""
        return pulumi.ResourceOptions(
            parent=self.parent,
            provider=self.provider,
            depends_on=[*self.depends_on, *depends_on],
            deleted_with=self.resource,
            transformations=[self._add_labels] if self.labels else None,
        )

    def _add_labels(self, args: pulumi.ResourceTransformationArgs) -> pulumi.ResourceTransformationResult | None:
        if not args.type_.startswith("kubernetes:"):
            return None
        props: dict[str, Any] = dict(args.props)
        metadata: dict[str, Any] = props.get("metadata") or {}
        labels = {**(metadata.get("labels") or {}), **self.labels}
        return pulumi.ResourceTransformationResult({**props, "metadata": {**metadata, "labels": labels}}, args.opts)


def wait_for_api_server(kubeconfig: pulumi.Output[str]) -> pulumi.Output[str]:
    """Return the kubeconfig once the API server responds; a preview does not wait.

    Without the wait, Pulumi would report the resources of an unreachable cluster as unchanged.

    Raises:
        RunError: the API server does not respond within three minutes.
    """
    if pulumi.runtime.is_dry_run():
        return kubeconfig
    return kubeconfig.apply(lambda config: asyncio.to_thread(_wait, config))


def _wait(kubeconfig: str) -> str:
    import yaml
    from kubernetes import client, config  # type: ignore[import-untyped]

    api = client.VersionApi(config.new_client_from_config_dict(yaml.safe_load(kubeconfig)))
    last_error: Exception | None = None

    def responds() -> bool | None:
        nonlocal last_error
        try:
            api.get_code(_request_timeout=5)
            # The first request for the schema can take longer than Pulumi waits for it.
            api.api_client.call_api(
                "/openapi/v2", "GET", auth_settings=["BearerToken"], _preload_content=False, _request_timeout=60
            )
        except Exception as error:  # any error can be transient while the machine starts
            last_error = error
            return None
        return True

    if not poll(responds, timeout=ANSWER_SECONDS, interval=POLL_SECONDS):
        host = api.api_client.configuration.host
        raise pulumi.RunError(
            f"the API server at {host} does not respond: {last_error}. Check the machine and the network to it"
        )
    return kubeconfig


def provider(
    name: str,
    kubeconfig: pulumi.Input[str],
    deleted_with: pulumi.Resource | None = None,
    parent: pulumi.Resource | None = None,
    *,
    upsert: bool,
) -> kubernetes.Provider:
    """Return the Kubernetes provider of a cluster.

    Its identity is the constant `name`. Otherwise an unknown kubeconfig, as in a first preview, would plan the
    replacement of every resource in the cluster. A refresh keeps the resources of an unreachable cluster.

    With `upsert`, creating an object that exists updates it, so that an `up` after a killed one continues. That is for
    clusters that this program creates: every object in them is its own.
    """
    return kubernetes.Provider(
        name,
        kubeconfig=kubeconfig,
        cluster_identifier=name,
        skip_update_unreachable=True,
        upsert_existing_objects=upsert,
        opts=pulumi.ResourceOptions(parent=parent, deleted_with=deleted_with),
    )
