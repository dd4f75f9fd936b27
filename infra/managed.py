"""A cluster that somebody else runs: one that exists, by its kubeconfig, or one of Azure Kubernetes Service made here."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi
import yaml
from pulumi.dynamic import CreateResult, ReadResult, Resource, UpdateResult

from infra.cluster import Cluster, provider
from infra.dynamic import Failure, Provider, plain_failures
from infra.registry import Registry
from settings import Existing, Infra, SettingsError

ANSWER_SECONDS = 20


@dataclass(frozen=True)
class Managed:
    """A cluster of a vendor, and what came with it.

    `storage_class` is the vendor's default one, "" where the cluster has none.
    """

    cluster: Cluster
    storage_class: pulumi.Output[str]
    registry: Registry | None = None


def managed_cluster(settings: Infra, stack: str) -> Managed:
    """The cluster of the settings. Nothing is installed in it here: network and nodes are its vendor's.

    Raises:
        SettingsError: the kubeconfig cannot be used, or Azure's settings cannot.
    """
    if settings.azure and settings.azure.aks:
        # Its SDK takes five seconds to load.
        from infra.azure_cluster import aks_site

        site = aks_site(settings.azure, settings.azure.aks, stack)
        return _managed(stack, site.kubeconfig, site.resource, site.registry)
    assert settings.existing is not None  # the settings see to it
    return _managed(stack, pulumi.Output.secret(kubeconfig(settings.existing)))


def kubeconfig(settings: Existing) -> str:
    """The kubeconfig with its context chosen and all files that it names inside: it works from any folder.

    Raises:
        SettingsError: it is none, it lacks the context, or a file that it names is not there.
    """
    file = Path(settings.kubeconfig_file).expanduser() if settings.kubeconfig_file else None
    setting = "infra:existing.kubeconfig_file" if file else "infra:existing.kubeconfig"
    text = file.read_text() if file else settings.kubeconfig.get_secret_value() if settings.kubeconfig else ""
    try:
        config = yaml.safe_load(text)
    except yaml.YAMLError:
        config = None  # what is wrong with it would quote from it
    if not isinstance(config, dict) or not config.get("clusters"):
        raise SettingsError(f"{setting}: this is no kubeconfig: it has no clusters")
    contexts = [context["name"] for context in config.get("contexts") or []]
    chosen = settings.context or config.get("current-context")
    if chosen not in contexts:
        raise SettingsError(
            f"infra:existing.context: the kubeconfig has no context {chosen!r}; it has: {', '.join(contexts) or 'none'}"
        )
    config["current-context"] = chosen
    for named in [*(one["cluster"] for one in config["clusters"]), *(one["user"] for one in config.get("users") or [])]:
        _take_in_files(named, file.parent if file else Path.cwd(), setting)
    return yaml.safe_dump(config, sort_keys=False)


def _take_in_files(named: dict[str, Any], folder: Path, setting: str) -> None:
    for key in ("certificate-authority", "client-certificate", "client-key", "tokenFile"):
        if path := named.pop(key, None):
            try:
                content = (folder / path).read_bytes()
            except OSError as error:
                raise SettingsError(f"{setting}: its {key} cannot be read: {path}: {error.strerror}") from None
            if key == "tokenFile":
                named["token"] = content.decode().strip()
            else:
                named[f"{key}-data"] = base64.b64encode(content).decode()


def _managed(
    name: str,
    config: pulumi.Output[str],
    resource: pulumi.Resource | None = None,
    registry: Registry | None = None,
) -> Managed:
    facts = ClusterFacts("cluster-facts", config, pulumi.ResourceOptions(deleted_with=resource))
    cluster = Cluster(
        name=name,
        kubeconfig=config,
        provider=provider(name, config, resource),
        endpoint=facts.endpoint,
        nodes=facts.nodes,
        depends_on=[facts],
        resource=resource,
    )
    return Managed(cluster, facts.storage_class, registry)


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
    """What a cluster says of itself; nothing is put into it before it has answered.

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
        super().__init__(_ClusterFactsProvider(), name, {"kubeconfig": pulumi.Output.secret(config), **made}, opts)


def facts(config: str) -> dict[str, Any]:
    """Ask the cluster of a kubeconfig.

    Raises:
        Failure: as with `ClusterFacts`.
    """
    from kubernetes import client
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
