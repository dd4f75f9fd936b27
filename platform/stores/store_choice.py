"""Refusal of a change of `platform:stores` that would hide the data of MLflow."""

from __future__ import annotations

from typing import Any

import pulumi
from mlplatform.k8s.owned_objects import RELEASED
from pulumi.dynamic import CreateResult, DiffResult, Resource, UpdateResult

from infra.cluster import Cluster
from infra.dynamic_provider import DynamicProvider, UserError, any_changed

CLAIMS = {"replicated": "mlplatform-tracking/mlflow", "single": "mlplatform-stores/data-postgresql-0"}
"""The claim, as namespace and name, whose data the stores of a choice do not read."""


class _StoreChoiceProvider(DynamicProvider):
    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        return DiffResult(changes=any_changed(_olds, _news, ("stores",)))

    def create(self, props: dict[str, Any]) -> CreateResult:
        _refuse_data(props)
        return CreateResult("stores", props)

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        _refuse_data(_news)
        return UpdateResult(_news)


class StoreChoice(Resource, module="platform", name="StoreChoice"):
    """The stores of MLflow in a cluster: `single` or `replicated`. What uses the stores waits for this resource.

    Raises (as a failed resource):
        UserError: the cluster has the volume of the other choice, and it is not released.
    """

    def __init__(self, stores: str, cluster: Cluster) -> None:
        options = pulumi.ResourceOptions(
            depends_on=list(cluster.depends_on),
            deleted_with=cluster.resource,
            additional_secret_outputs=["kubeconfig"],
        )
        props = {"stores": stores, "kubeconfig": cluster.kubeconfig}
        super().__init__(_StoreChoiceProvider(), "store-choice", props, options)


def _refuse_data(props: dict[str, Any]) -> None:
    from infra.kubernetes_client.client import KubernetesClient

    stores = props["stores"]
    namespace, _, name = CLAIMS[stores].partition("/")
    client = KubernetesClient(props["kubeconfig"])
    claim = client.none_if_missing(lambda: client.core.read_namespaced_persistent_volume_claim(name, namespace))
    if claim is None or claim.metadata.deletion_timestamp or RELEASED in (claim.metadata.annotations or {}):
        return
    raise UserError(
        f"platform:stores: {stores} stores do not read the volume {CLAIMS[stores]}, which has data of this stack's "
        f"MLflow. MLflow was not changed. To move the data: set the old value again and run `make backup`. Then set "
        f"{stores}, release the volume with `make kubectl ARGS='annotate --namespace {namespace} pvc {name} "
        f"{RELEASED}=true'`, run `make up`, and `make restore OVERWRITE=yes`, each with STACK=..."
    )
