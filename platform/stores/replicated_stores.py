"""The stores of a stack with `platform:stores: replicated`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pulumi
from mlplatform.k8s.namespace import DNS, Rule, namespace, tcp_ports
from mlplatform.stores.postgresql import PostgreSql, postgresql
from mlplatform.stores.seaweedfs import LABELS as OBJECT_PODS
from mlplatform.stores.seaweedfs import S3_PORT, ReplicatedObjects, seaweedfs

from infra.cluster import Cluster
from infra.registry import ContainerRegistry

NAMESPACE = "mlplatform-stores"
NAMESPACE_NAME = "kubernetes.io/metadata.name"
"""Label that Kubernetes gives each namespace."""


class ReplicatedStores(pulumi.ComponentResource):
    """PostgreSQL and an S3 store, each with copies on three machines.

    Args:
        cluster: the cluster.
        registry: the registry of images.
        client_namespace: the namespace of the pods that use the stores.
        client_pods: labels of these pods.
        size_gb: size of each of the six volumes in GiB.

    Attributes:
        database: the database server.
        objects: the S3 store.
        egress: network rules of the clients.
    """

    database: PostgreSql
    objects: ReplicatedObjects
    egress: Sequence[Rule]

    def __init__(
        self,
        cluster: Cluster,
        registry: ContainerRegistry,
        client_namespace: str,
        client_pods: Mapping[str, str],
        size_gb: int,
    ) -> None:
        super().__init__("mlplatform:platform:ReplicatedStores", "stores")
        stores = namespace(NAMESPACE, cluster.under(self), registry, volumes=True)
        client = {**_in_namespace(client_namespace), "podSelector": {"matchLabels": dict(client_pods)}}
        gateways = {"podSelector": {"matchLabels": OBJECT_PODS}}
        owned = pulumi.ResourceOptions(parent=self)
        self.database = postgresql(stores, [client, gateways], size_gb, owned)
        self.objects = seaweedfs(stores, self.database, [client], size_gb, owned)
        here = _in_namespace(NAMESPACE)
        objects = {"to": [{**here, "podSelector": {"matchLabels": OBJECT_PODS}}], **tcp_ports(S3_PORT)}
        self.egress = [DNS, self.database.rule(here), objects]
        self.register_outputs({})

    @property
    def resources(self) -> list[pulumi.Resource]:
        """Return the resources that clients wait for."""
        return [*self.database.resources, *self.objects.resources]


def _in_namespace(name: str) -> Rule:
    return {"namespaceSelector": {"matchLabels": {NAMESPACE_NAME: name}}}
