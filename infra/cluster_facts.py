"""What a cluster that somebody else made says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi
import yaml
from pulumi.dynamic import CreateResult, ReadResult, Resource, UpdateResult

from infra.dynamic import Failure, Provider, plain_failures

ANSWER_SECONDS = 20


class _ClusterFactsProvider(Provider):
    compared = ("kubeconfig",)

    @plain_failures
    def create(self, props: dict[str, Any]) -> CreateResult:
        return CreateResult("facts", props | facts(props["kubeconfig"]))

    @plain_failures
    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        return UpdateResult(_news | facts(_news["kubeconfig"]))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        try:
            return ReadResult(id_, props | facts(props["kubeconfig"]))
        except Failure:
            # What is known of a cluster that does not answer is what was known of it.
            return ReadResult(id_, props)


class ClusterFacts(Resource, module="infra", name="ClusterFacts"):
    """What the cluster of a kubeconfig (secret) says of itself. What goes into the cluster can wait for the answer.

    Outputs:
        endpoint: of its API server.
        nodes: {"name", "role", "address", "version"} of each.
        storage_class: the default one's name, "" where there is none.

    Raises (as a failed resource):
        Failure: it does not answer, or does not let this user see its nodes.
    """

    endpoint: pulumi.Output[str]
    nodes: pulumi.Output[list[dict[str, Any]]]
    storage_class: pulumi.Output[str]

    def __init__(self, name: str, config: pulumi.Input[str], opts: pulumi.ResourceOptions | None = None) -> None:
        made = dict.fromkeys(("endpoint", "nodes", "storage_class"))
        secret = pulumi.ResourceOptions(additional_secret_outputs=["kubeconfig"])
        props = {"kubeconfig": config, **made}
        super().__init__(_ClusterFactsProvider(), name, props, pulumi.ResourceOptions.merge(secret, opts))


def facts(config: str) -> dict[str, Any]:
    """Ask the cluster of a kubeconfig.

    Raises:
        Failure: as with `ClusterFacts`.
    """
    from kubernetes import client  # type: ignore[import-untyped]
    from kubernetes import config as loading
    from urllib3.exceptions import HTTPError

    loaded = yaml.safe_load(config)
    try:
        api = loading.new_client_from_config_dict(loaded, context=loaded["current-context"])
        endpoint = str(api.configuration.host)
    except loading.ConfigException as error:
        raise Failure(f"infra:existing: the kubeconfig cannot be used: {error}") from None
    try:
        nodes = client.CoreV1Api(api).list_node(_request_timeout=ANSWER_SECONDS).items
        classes = client.StorageV1Api(api).list_storage_class(_request_timeout=ANSWER_SECONDS).items
    except client.ApiException as error:
        raise Failure(
            f"the cluster at {endpoint} answered {error.status} {error.reason} when asked for nodes"
        ) from None
    except (HTTPError, OSError) as error:
        raise Failure(
            f"the cluster at {endpoint} does not answer: {error}. Is this computer let in (VPN, authorised addresses)?"
        ) from None
    return {
        "endpoint": endpoint,
        "nodes": [_described(node) for node in nodes],
        "storage_class": next((one.metadata.name for one in classes if _is_default(one.metadata.annotations)), ""),
    }


def _described(node: Any) -> dict[str, str]:
    labels: Mapping[str, str] = node.metadata.labels or {}
    return {
        "name": node.metadata.name,
        "role": "control-plane" if "node-role.kubernetes.io/control-plane" in labels else "worker",
        "address": next((each.address for each in node.status.addresses or [] if each.type == "InternalIP"), ""),
        "version": node.status.node_info.kubelet_version,
    }


def _is_default(annotations: Mapping[str, str] | None) -> bool:
    return (annotations or {}).get("storageclass.kubernetes.io/is-default-class") == "true"
