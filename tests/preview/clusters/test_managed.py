"""Clusters of a vendor: kubeconfigs, facts of a cluster, and Azure Kubernetes Service."""

from __future__ import annotations

import base64
import copy
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar
from unittest.mock import patch

import pytest
import yaml
from pulumi.runtime import rpc
from pydantic import ValidationError

from infra.cluster import MANAGED
from infra.dynamic_provider import UserError
from infra.kubeconfig import kubeconfig
from infra.managed import cluster_facts
from infra.managed.cluster_facts import RequiredFeatures, facts
from settings.errors import SettingsError
from settings.infra import ExistingClusterSettings, InfraSettings
from settings.machines.azure_settings import AzureSettings
from tests.preview.graph import run
from tests.stand_ins import Answering, answering

CONFIG: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Config",
    "current-context": "eu",
    "contexts": [
        {"name": "eu", "context": {"cluster": "eu", "user": "me"}},
        {"name": "us", "context": {"cluster": "us", "user": "me"}},
    ],
    "clusters": [
        {"name": "eu", "cluster": {"server": "https://eu.example.com"}},
        {"name": "us", "cluster": {"server": "https://us.example.com"}},
    ],
    "users": [{"name": "me", "user": {"token": "s3cret"}}],
}
NODES = {
    "items": [
        {
            "metadata": {"name": "aks-nodes-1", "labels": {"agentpool": "nodes"}},
            "status": {
                "addresses": [{"type": "Hostname", "address": "h"}, {"type": "InternalIP", "address": "10.224.0.4"}],
                "nodeInfo": dict.fromkeys(
                    (
                        *("architecture", "bootID", "containerRuntimeVersion", "kernelVersion", "kubeProxyVersion"),
                        *("machineID", "operatingSystem", "osImage", "systemUUID"),
                    ),
                    "x",
                )
                | {"kubeletVersion": "v1.34.4"},
            },
        }
    ]
}
METRICS: dict[str, Any] = {"metadata": {"name": "v1beta1.metrics.k8s.io", "labels": {"k8s-app": "metrics-server"}}}
CLASSES: dict[str, Any] = {
    "items": [
        {"metadata": {"name": "azurefile-csi"}, "provisioner": "file.csi.azure.com"},
        {
            "metadata": {
                "name": "default",
                "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
                "creationTimestamp": "2026-01-01T00:00:00Z",
            },
            "provisioner": "disk.csi.azure.com",
        },
    ]
}


def test_kubeconfig_context_is_the_settings_or_the_current_one() -> None:
    text = yaml.safe_dump(CONFIG)
    assert yaml.safe_load(kubeconfig(ExistingClusterSettings(kubeconfig=text))) == CONFIG
    assert yaml.safe_load(kubeconfig(ExistingClusterSettings(kubeconfig=text, context="us")))["current-context"] == "us"
    with pytest.raises(SettingsError, match="no context 'asia'; it has: eu, us"):
        kubeconfig(ExistingClusterSettings(kubeconfig=text, context="asia"))


def test_kubeconfig_with_file_names_embeds_the_files(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text("authority")
    (tmp_path / "token").write_text("t0ken\n")
    file = tmp_path / "config"
    cluster = {"server": "https://eu.example.com", "certificate-authority": "ca.crt"}
    config = CONFIG | {
        "clusters": [{"name": "eu", "cluster": cluster}],
        "users": [{"name": "me", "user": {"tokenFile": str(tmp_path / "token")}}],
    }
    file.write_text(yaml.safe_dump(config))
    embedded = yaml.safe_load(kubeconfig(ExistingClusterSettings(kubeconfig_file=str(file))))
    assert base64.b64decode(embedded["clusters"][0]["cluster"]["certificate-authority-data"]) == b"authority"
    assert embedded["users"][0]["user"] == {"token": "t0ken"}
    (tmp_path / "ca.crt").unlink()
    with pytest.raises(SettingsError, match=r"kubeconfig_file: its certificate-authority cannot be read: ca\.crt"):
        kubeconfig(ExistingClusterSettings(kubeconfig_file=str(file)))


@pytest.mark.parametrize("text", ["s3cret", "a: [s3cret", "[]"])
def test_what_is_no_kubeconfig_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(SettingsError, match=r"infra:existing\.kubeconfig: this is no kubeconfig") as error:
        kubeconfig(ExistingClusterSettings(kubeconfig=text))
    assert "s3cret" not in str(error.value)


def test_a_stack_has_one_cluster() -> None:
    existing = ExistingClusterSettings(kubeconfig="text")
    azure = AzureSettings(operator="203.0.113.7", aks={})
    for wrong in ({}, {"existing": existing, "azure": azure}, {"azure": AzureSettings(operator="203.0.113.7")}):
        with pytest.raises(ValidationError, match="cluster: existing takes one of"):
            InfraSettings(cluster="existing", **wrong)
    assert InfraSettings(cluster="existing", azure=azure)
    assert InfraSettings(cluster="existing", existing=existing)


class Cluster(Answering):
    """An API server's answers for nodes, storage classes and API services; `status` refuses all."""

    status = 200
    services: ClassVar[list[dict[str, Any]]] = []

    def do_GET(self) -> None:
        kind = {
            "/api/v1/nodes": NODES,
            "/apis/storage.k8s.io/v1/storageclasses": CLASSES,
            "/apis/apiregistration.k8s.io/v1/apiservices": {"items": type(self).services},
        }[self.path]
        self.answer(type(self).status, kind)


@pytest.fixture
def server() -> Iterator[str]:
    Cluster.status, Cluster.services = 200, [METRICS]
    with answering(Cluster) as address:
        yield address


def at(server: str) -> str:
    return yaml.safe_dump(CONFIG | {"clusters": [{"name": "eu", "cluster": {"server": server}}]})


def test_facts_returns_nodes_and_storage_class(server: str) -> None:
    assert facts(at(server), RequiredFeatures()) == {
        "endpoint": server,
        "nodes": [
            {
                "name": "aks-nodes-1",
                "role": "worker",
                "address": "10.224.0.4",
                "external_address": "10.224.0.4",
                "version": "v1.34.4",
            }
        ],
        "storage_class": "default",
    }


def test_facts_of_a_refusing_or_missing_cluster_raises_with_its_address(server: str) -> None:
    Cluster.status = 403
    with pytest.raises(UserError, match=f"the cluster at {server} answered 403"):
        facts(at(server), RequiredFeatures())
    with pytest.raises(UserError, match=r"the cluster at http://127\.0\.0\.1:1 does not answer"):
        facts(at("http://127.0.0.1:1"), RequiredFeatures())


def test_facts_storage_class_is_the_default_or_the_required_one_or_empty(server: str) -> None:
    assert facts(at(server), RequiredFeatures(storage_class="azurefile-csi"))["storage_class"] == "azurefile-csi"
    assert facts(at(server), RequiredFeatures(volumes=False))["storage_class"] == ""
    with pytest.raises(UserError, match="no storage class gp3; set one of its storage classes: azurefile-csi, default"):
        facts(at(server), RequiredFeatures(storage_class="gp3"))


def test_facts_without_a_default_class_raises_with_the_classes(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CLASSES, "items", CLASSES["items"][:1])
    with pytest.raises(UserError, match="no default storage class; set one of its storage classes: azurefile-csi; or"):
        facts(at(server), RequiredFeatures())


def test_facts_with_several_default_classes_returns_the_newest(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    newer = copy.deepcopy(CLASSES["items"][1])
    newer["metadata"] |= {"name": "premium", "creationTimestamp": "2026-06-01T00:00:00Z"}
    monkeypatch.setitem(CLASSES, "items", [newer, *CLASSES["items"]])
    assert facts(at(server), RequiredFeatures())["storage_class"] == "premium"


def facts_resource(server: str, **required: Any) -> tuple[Any, Any]:
    """Return the provider of `ClusterFacts` and its state after the first `up`."""
    provider = cluster_facts._ClusterFactsProvider()
    inputs = {"kubeconfig": at(server), "expected": asdict(RequiredFeatures(**required))}
    return provider, provider.create(inputs).outs


def test_cluster_facts_keeps_the_first_storage_class_when_the_default_changes(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider, state = facts_resource(server)
    newer = copy.deepcopy(CLASSES["items"][1])
    newer["metadata"] |= {"name": "premium", "creationTimestamp": "2026-06-01T00:00:00Z"}
    monkeypatch.setitem(CLASSES, "items", [newer])
    assert provider.read("facts", state).outs["storage_class"] == "default"
    inputs = {name: state[name] for name in ("kubeconfig", "expected")}
    assert provider.update("facts", state, inputs | {"kubeconfig": at(server)}).outs["storage_class"] == "default"


def test_cluster_facts_with_a_changed_setting_has_that_storage_class(server: str) -> None:
    provider, state = facts_resource(server)
    inputs = {"kubeconfig": at(server), "expected": asdict(RequiredFeatures(storage_class="azurefile-csi"))}
    assert provider.update("facts", state, inputs).outs["storage_class"] == "azurefile-csi"
    inputs["expected"] = asdict(RequiredFeatures(storage_class="gp3"))
    with pytest.raises(UserError, match="no storage class gp3"):
        provider.update("facts", state, inputs)


def test_facts_with_a_vendors_metrics_server_refuses_to_overwrite_it(server: str) -> None:
    with pytest.raises(UserError, match="platform:metrics: own would overwrite"):
        facts(at(server), RequiredFeatures(metrics=False))
    Cluster.services = [{"metadata": METRICS["metadata"] | {"labels": MANAGED}}]
    assert facts(at(server), RequiredFeatures(metrics=False))
    Cluster.services = []
    assert facts(at(server), RequiredFeatures(metrics=False))


def test_facts_without_a_metrics_server_logs_a_warning(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    warnings: list[str] = []
    monkeypatch.setattr("pulumi.log.warn", warnings.append)
    facts(at(server), RequiredFeatures())
    assert warnings == []
    Cluster.services = []
    facts(at(server), RequiredFeatures())
    assert "has no metrics-server" in warnings[0]


def aks(**settings: Any) -> tuple[Any, Any]:
    def program() -> Any:
        from infra.managed.managed_cluster import managed_cluster

        azure = AzureSettings(operator="203.0.113.7", **{"aks": {}} | settings)
        cluster = managed_cluster(InfraSettings(cluster="existing", azure=azure), "vendor", RequiredFeatures())
        return {"kubeconfig": cluster.cluster.kubeconfig, "registry": cluster.registry and cluster.registry.host}

    with patch(
        "infra.managed.managed_cluster.wait_for_api_server", lambda kubeconfig: kubeconfig
    ):  # no server responds
        return run(program)


def test_aks_admits_the_operator_and_the_configured_ranges() -> None:
    (cluster,) = aks(api_from=["198.51.100.0/24"])[0].of("ManagedCluster").values()
    ranges = cluster["apiServerAccessProfile"]["authorizedIPRanges"]
    assert ranges == ["203.0.113.7/32", "198.51.100.0/24"]
    assert cluster["enableRBAC"] is True


def test_aks_has_nodes_of_the_configured_number_size_and_version() -> None:
    graph, _ = aks(aks={"nodes": 3, "version": "1.33"}, size="Standard_D4s_v5")
    (cluster,) = graph.of("ManagedCluster").values()
    (pool,) = cluster["agentPoolProfiles"]
    assert (pool["count"], pool["vmSize"], cluster["kubernetesVersion"]) == (3, "Standard_D4s_v5", "1.33")
    assert cluster["networkProfile"]["networkPolicy"] == "cilium"
    assert not graph.of("VirtualMachine")


def test_aks_kubeconfig_is_a_secret_of_the_provider() -> None:
    graph, outputs = aks(registry=True)
    assert outputs == {"kubeconfig": "kubeconfig-of-aks", "registry": "registry.azurecr.io"}
    (provider,) = graph.of("kubernetes").values()
    assert provider["kubeconfig"] == rpc.wrap_rpc_secret("kubeconfig-of-aks")
    assert provider["clusterIdentifier"] == "vendor"
