"""What a cluster that somebody else made says of itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pulumi
import yaml
from pulumi.dynamic import CreateResult, ReadResult, Resource

from infra.cluster import MANAGED, METRICS_API
from infra.dynamic_provider import DynamicProvider, UserError

ANSWER_SECONDS = 20


@dataclass(frozen=True)
class RequiredFeatures:
    """What the vendor of a cluster is to have put into it.

    `volumes` of the class `storage_class`, "" for the default one; `metrics` is a metrics-server.
    """

    volumes: bool = True
    storage_class: str = ""
    metrics: bool = True


class _ClusterFactsProvider(DynamicProvider):
    compared = ("kubeconfig", "expected")

    def create(self, props: dict[str, Any]) -> CreateResult:
        return CreateResult("facts", props | _facts(props))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        try:
            return ReadResult(id_, props | _facts(props))
        except UserError as failure:
            pulumi.log.warn(f"the cluster was not looked at, and what is known of it is kept: {failure}")
            return ReadResult(id_, props)


class ClusterFacts(Resource, module="infra", name="ClusterFacts"):
    """What the cluster of a kubeconfig (secret) says of itself. What goes into the cluster can wait for the answer.

    Outputs:
        endpoint: of its API server.
        nodes: of each what `infra.cluster.Cluster` says of its nodes.
        storage_class: the name of the expected one, "" where none is.

    Raises (as a failed resource):
        UserError: it does not answer, does not let this user see its nodes, lacks the storage class, or has a
            metrics-server that this stack would overwrite.
    """

    endpoint: pulumi.Output[str]
    nodes: pulumi.Output[list[dict[str, Any]]]
    storage_class: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        config: pulumi.Input[str],
        expected: RequiredFeatures,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        made = dict.fromkeys(("endpoint", "nodes", "storage_class"))
        secret = pulumi.ResourceOptions(additional_secret_outputs=["kubeconfig"])
        props = {"kubeconfig": config, "expected": asdict(expected), **made}
        super().__init__(_ClusterFactsProvider(), name, props, pulumi.ResourceOptions.merge(secret, opts))


def _facts(props: dict[str, Any]) -> dict[str, Any]:
    return facts(props["kubeconfig"], RequiredFeatures(**props["expected"]))


def facts(config: str, expected: RequiredFeatures) -> dict[str, Any]:
    """Ask the cluster of a kubeconfig.

    Raises:
        UserError: as with `ClusterFacts`.
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
            f"the cluster at {endpoint} answered {error.status} {error.reason} when asked what it has"
        ) from None
    except (HTTPError, OSError) as error:
        raise UserError(
            f"the cluster at {endpoint} does not answer: {error}. Is this computer let in (VPN, authorised addresses)?"
        ) from None
    _look_at_metrics(services, expected.metrics)
    return {
        "endpoint": endpoint,
        "nodes": [_described(node) for node in nodes],
        "storage_class": _chosen(classes, expected.storage_class) if expected.volumes else "",
    }


def _chosen(classes: Sequence[Any], wanted: str) -> str:
    """The class that is wanted, of those that there are."""
    names = [each.metadata.name for each in classes]
    # Of several default ones, Kubernetes takes the newest.
    defaults = sorted(
        (each for each in classes if _is_default(each.metadata.annotations)),
        key=lambda each: each.metadata.creation_timestamp,
    )
    found = [name for name in names if name == wanted] if wanted else [each.metadata.name for each in defaults]
    if not found:
        lacking = f"no storage class {wanted}" if wanted else "no default storage class"
        raise UserError(
            f"platform:storage_class: the cluster has {lacking}; set one of those that it has: "
            f"{', '.join(names) or 'none'}; or platform:storage: openebs, whose volumes are folders of nodes"
        )
    return str(found[-1])


def _look_at_metrics(services: Sequence[Any], expected: bool) -> None:
    """See to it that there is one metrics-server."""
    labels = [each.metadata.labels or {} for each in services if each.metadata.name == METRICS_API]
    if expected and not labels:
        pulumi.log.warn(
            "platform:metrics: the cluster has no metrics-server, so that no service gets more pods under load: add "
            "its vendor's, or set platform:metrics: own"
        )
    if not expected and labels and not MANAGED.items() <= labels[0].items():
        raise UserError(
            "platform:metrics: own would overwrite the metrics-server that the cluster has; set it to vendor"
        )


def _described(node: Any) -> dict[str, str]:
    labels: Mapping[str, str] = node.metadata.labels or {}
    addresses = {each.type: each.address for each in node.status.addresses or []}
    inside = addresses.get("InternalIP", "")
    return {
        "name": node.metadata.name,
        "role": "control-plane" if "node-role.kubernetes.io/control-plane" in labels else "worker",
        "address": inside,
        "external_address": addresses.get("ExternalIP", inside),
        "version": node.status.node_info.kubelet_version,
    }


def _is_default(annotations: Mapping[str, str] | None) -> bool:
    return (annotations or {}).get("storageclass.kubernetes.io/is-default-class") == "true"
