"""Facts that a vendor's cluster reports about itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pulumi
import yaml
from pulumi.dynamic import CreateResult, DiffResult, ReadResult, Resource, UpdateResult

from infra.cluster import MANAGED, METRICS_API, Node
from infra.dynamic_provider import DynamicProvider, UserError, any_changed

ANSWER_SECONDS = 20


@dataclass(frozen=True)
class RequiredFeatures:
    """Features that the vendor's cluster must have.

    `volumes` requires the storage class `storage_class`, or a default one for "". `metrics` requires a metrics-server.
    """

    volumes: bool = True
    storage_class: str = ""
    metrics: bool = True


class _ClusterFactsProvider(DynamicProvider):
    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        return DiffResult(changes=any_changed(_olds, _news, ("kubeconfig", "expected")))

    def create(self, props: dict[str, Any]) -> CreateResult:
        return CreateResult("facts", props | _facts(props))

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        chosen = _olds["storage_class"] if _olds["expected"] == _news["expected"] else ""
        return UpdateResult(_news | _facts(_news, chosen))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        try:
            return ReadResult(id_, props | _facts(props, props["storage_class"]))
        except UserError as error:
            pulumi.log.warn(f"the cluster cannot be read, so its known facts are kept: {error}")
            return ReadResult(id_, props)


class ClusterFacts(Resource, module="infra", name="ClusterFacts"):
    """Facts about the cluster of a kubeconfig (secret). Resources in the cluster can depend on them.

    Outputs:
        endpoint: URL of the API server.
        nodes: a list of `infra.cluster.Node`.
        storage_class: name of the required storage class, "" if none is required. Where the default class is required,
            the first one stays: another would replace the claims of all services, and their data.

    Raises (as a failed resource):
        UserError: the cluster does not answer, forbids this user to list its nodes, lacks the storage class, or has a
            metrics-server that this stack would overwrite.
    """

    endpoint: pulumi.Output[str]
    nodes: pulumi.Output[list[dict[str, Any]]]
    storage_class: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        config: pulumi.Input[str],
        required: RequiredFeatures,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        outputs = dict.fromkeys(("endpoint", "nodes", "storage_class"))
        secret = pulumi.ResourceOptions(additional_secret_outputs=["kubeconfig"])
        props = {"kubeconfig": config, "expected": asdict(required), **outputs}
        super().__init__(_ClusterFactsProvider(), name, props, pulumi.ResourceOptions.merge(secret, opts))


def _facts(props: dict[str, Any], chosen: str | None = "") -> dict[str, Any]:
    return facts(props["kubeconfig"], RequiredFeatures(**props["expected"]), chosen or "")


def facts(config: str, required: RequiredFeatures, chosen: str = "") -> dict[str, Any]:
    """Return the outputs of `ClusterFacts`, read from the cluster of a kubeconfig.

    `chosen` is the storage class of an earlier `up`, which stays whatever the cluster's default is now.

    Raises:
        UserError: as `ClusterFacts` does.
    """
    from kubernetes import client  # type: ignore[import-untyped]
    from kubernetes import config as loading
    from urllib3.exceptions import HTTPError

    loaded = yaml.safe_load(config)
    try:
        api = loading.new_client_from_config_dict(loaded, context=loaded["current-context"])
        endpoint = str(api.configuration.host)
    except loading.ConfigException as error:
        raise UserError(f"infra:existing: the kubeconfig cannot be used: {error}") from None
    try:
        nodes = client.CoreV1Api(api).list_node(_request_timeout=ANSWER_SECONDS).items
        classes = client.StorageV1Api(api).list_storage_class(_request_timeout=ANSWER_SECONDS).items
        services = client.ApiregistrationV1Api(api).list_api_service(_request_timeout=ANSWER_SECONDS).items
    except client.ApiException as error:
        raise UserError(
            f"the cluster at {endpoint} answered {error.status} {error.reason} to a list of its nodes, storage "
            "classes and API services: check the rights of the kubeconfig's user"
        ) from None
    except (HTTPError, OSError) as error:
        raise UserError(
            f"the cluster at {endpoint} does not answer: {error}. Check that it admits this computer "
            "(VPN, authorised addresses)"
        ) from None
    _check_metrics(services, required.metrics)
    storage_class = (chosen or _storage_class(classes, required.storage_class)) if required.volumes else ""
    return {
        "endpoint": endpoint,
        "nodes": [_node(node) for node in nodes],
        "storage_class": storage_class,
    }


def _storage_class(classes: Sequence[Any], wanted: str) -> str:
    """Return the name of the wanted storage class, or of the default one for ""."""
    names = [each.metadata.name for each in classes]
    # If several are marked as default, Kubernetes uses the newest.
    defaults = sorted(
        (each for each in classes if _is_default(each.metadata.annotations)),
        key=lambda each: each.metadata.creation_timestamp,
    )
    matches = [name for name in names if name == wanted] if wanted else [each.metadata.name for each in defaults]
    if not matches:
        missing = f"no storage class {wanted}" if wanted else "no default storage class"
        raise UserError(
            f"platform:storage_class: the cluster has {missing}; set one of its storage classes: "
            f"{', '.join(names) or 'none'}; or set platform:storage: openebs, whose volumes are folders of nodes"
        )
    return str(matches[-1])


def _check_metrics(services: Sequence[Any], required: bool) -> None:
    """Check that the cluster will have exactly one metrics-server."""
    labels = [each.metadata.labels or {} for each in services if each.metadata.name == METRICS_API]
    if required and not labels:
        pulumi.log.warn(
            "platform:metrics: the cluster has no metrics-server, so no service gets more pods under load: install "
            "the vendor's, or set platform:metrics: own"
        )
    if not required and labels and not MANAGED.items() <= labels[0].items():
        raise UserError(
            "platform:metrics: own would overwrite the metrics-server that the cluster has; set it to vendor"
        )


def _node(node: Any) -> Node:
    labels: Mapping[str, str] = node.metadata.labels or {}
    addresses = {each.type: each.address for each in node.status.addresses or []}
    internal = addresses.get("InternalIP", "")
    return {
        "name": node.metadata.name,
        "role": "control-plane" if "node-role.kubernetes.io/control-plane" in labels else "worker",
        "address": internal,
        "external_address": addresses.get("ExternalIP", internal),
        "version": node.status.node_info.kubelet_version,
    }


def _is_default(annotations: Mapping[str, str] | None) -> bool:
    return (annotations or {}).get("storageclass.kubernetes.io/is-default-class") == "true"
