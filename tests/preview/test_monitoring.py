"""Monitoring as a program's resources: what each part may do and reach, and what Prometheus is told to read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import bcrypt
import pulumi
import pytest
import yaml
from mlplatform.k8s.namespace import SERVING, namespace
from mlplatform.monitoring.monitoring import Monitoring
from mlplatform.monitoring.scraping import IMAGES, NAMESPACE, grant_pod_discovery
from pulumi.runtime import rpc

from airgap.bundle.sources import load
from infra.cluster import Cluster, provider
from infra.registry import ContainerRegistry
from policies import claims, pods
from settings.platform import MonitoringSettings
from workloads.serving import kubernetes

from .graph import Graph, run

Rule = Callable[[str, Any], Iterator[str]]
KINDS = ("Deployment", "DaemonSet")
WEBHOOK = "https://hooks.example.com/t0ken"


def made(kubeflow: bool = True, **settings: Any) -> tuple[Graph, Any]:
    def program() -> Any:
        text = pulumi.Output.from_input("text")
        cluster = Cluster(
            "lab", text, provider("lab", "text"), text, pulumi.Output.from_input([]), storage_class="disk"
        )
        registry = ContainerRegistry(text, text, pulumi.Output.secret("word"), text)
        there = namespace("kubeflow", cluster, registry)
        grant_pod_discovery(namespace(SERVING, cluster, registry))
        return Monitoring(
            MonitoringSettings(**settings), cluster, registry, there.resources if kubeflow else ()
        ).outputs

    return run(program)


@pytest.fixture(scope="module")
def graph() -> Graph:
    """With all its parts."""
    return made(alerts_url=WEBHOOK)[0]


def specifications(graph: Graph) -> dict[str, dict[str, Any]]:
    return {name: inputs["spec"]["template"]["spec"] for kind in KINDS for name, inputs in graph.of(kind).items()}


def scraped(graph: Graph) -> dict[str, dict[str, Any]]:
    written = yaml.safe_load(graph.of("ConfigMap")["prometheus"]["data"]["prometheus.yaml"])
    return {job["job_name"]: job for job in written["scrape_configs"]}


@pytest.mark.parametrize("rule", [pods.unpinned_image, pods.without_limits, pods.root, pods.plain_secret])
def test_every_part_keeps_the_policies(graph: Graph, rule: Rule) -> None:
    found = {
        name: list(rule(f"kubernetes:apps/v1:{kind}", inputs))
        for kind in KINDS
        for name, inputs in graph.of(kind).items()
    }
    assert {name: faults for name, faults in found.items() if faults} == {}


def test_its_volume_is_of_the_clusters_class(graph: Graph) -> None:
    (claim,) = graph.of("PersistentVolumeClaim").values()
    assert list(claims.claim_without_class("kubernetes:core/v1:PersistentVolumeClaim", claim)) == []
    assert claim["spec"]["storageClassName"] == "disk"


def test_every_image_is_in_the_bundles_table_and_nothing_else_is_taken(graph: Graph) -> None:
    table = load()
    used = {container["image"] for pod in specifications(graph).values() for container in pod["containers"]}
    assert used == set(IMAGES.values())
    assert used <= {table.upstream_name(image) for image in table.image}


def test_no_part_can_write_to_its_own_files_or_become_another_user(graph: Graph) -> None:
    for name, pod in specifications(graph).items():
        for container in pod["containers"]:
            security = {**pod["securityContext"], **container["securityContext"]}
            assert security["readOnlyRootFilesystem"], name
            assert security["runAsNonRoot"], name
            assert security["capabilities"] == {"drop": ["ALL"]}, name
            assert "readinessProbe" in container, name
            assert "livenessProbe" in container, name


def test_only_the_pods_that_see_their_machine_are_in_a_namespace_without_a_level(graph: Graph) -> None:
    levels = {
        name: inputs["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]
        for name, inputs in graph.of("Namespace").items()
    }
    assert {name for name, level in levels.items() if level != "restricted"} == {"mlplatform-nodes"}
    for name, pod in specifications(graph).items():
        paths = [volume for volume in pod["volumes"] if "hostPath" in volume] if "volumes" in pod else []
        assert bool(paths) == (name == "node-exporter")
        assert not pod.get("hostNetwork")
        assert not pod.get("hostPID")
    (exporter,) = specifications(graph)["node-exporter"]["containers"]
    assert all(mount["readOnly"] for mount in exporter["volumeMounts"])


def test_rights_are_to_read_and_end_at_nodes_pods_and_metrics(graph: Graph) -> None:
    everywhere = {
        name: [(rule.get("resources") or rule["nonResourceURLs"], rule["verbs"]) for rule in role["rules"]]
        for name, role in graph.of("ClusterRole").items()
    }
    assert everywhere == {
        "prometheus": [
            (["nodes"], ["get", "list", "watch"]),
            (["nodes/metrics"], ["get"]),
            (["/metrics"], ["get"]),
        ],
        "kube-state-metrics": [(["nodes", "pods"], ["list", "watch"])],
    }
    assert {role["metadata"]["namespace"] for role in graph.of("Role").values()} == {SERVING, "mlplatform-nodes"}
    assert all(role["rules"][0]["resources"] == ["pods"] for role in graph.of("Role").values())
    with_token = {name for name, pod in specifications(graph).items() if pod["automountServiceAccountToken"]}
    assert with_token == {"prometheus", "kube-state-metrics"}


def test_everybody_may_knock_at_prometheus_and_only_prometheus_at_the_others(graph: Graph) -> None:
    policies = graph.of("NetworkPolicy")
    assert "from" not in policies["prometheus"]["spec"]["ingress"][0]
    for name in ("node-exporter", "kube-state-metrics", "alertmanager", "kubeflow-prometheus"):
        ((source,),) = (rule["from"] for rule in policies[name]["spec"]["ingress"])
        assert source["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": NAMESPACE}
        assert source["podSelector"]["matchLabels"]["app.kubernetes.io/name"] == "prometheus"


def test_it_reads_nodes_pods_the_api_server_the_models_and_itself(graph: Graph) -> None:
    jobs = {"prometheus", "kubelet", "containers", "api-server", "nodes", "objects", "model-servers"}
    assert set(scraped(graph)) == {*jobs, "kubeflow"}
    assert set(scraped(made(kubeflow=False)[0])) == jobs
    (found,) = scraped(graph)["model-servers"]["kubernetes_sd_configs"]
    assert found["namespaces"] == {"names": [kubernetes.NAMESPACE]}


def test_only_the_api_server_is_known_by_its_authority(graph: Graph) -> None:
    secure = {name for name, job in scraped(graph).items() if "ca_file" in job.get("tls_config", {})}
    assert secure == {"api-server"}
    assert {name for name, job in scraped(graph).items() if "authorization" in job} == {
        *("api-server", "kubelet", "containers")
    }


def test_the_password_is_asked_for_and_stands_nowhere_in_clear(graph: Graph) -> None:
    told = rpc.unwrap_rpc_secret(graph.of("Secret")["prometheus"]["stringData"])
    (hashed,) = yaml.safe_load(told["web.yaml"])["basic_auth_users"].values()
    assert bcrypt.checkpw(told["password"].encode(), hashed.encode())
    assert told["password"] not in told["web.yaml"]
    (container,) = specifications(graph)["prometheus"]["containers"]
    assert "--web.config.file=/etc/prometheus-login/web.yaml" in container["args"]
    again = made(alerts_url=WEBHOOK)[0]
    assert rpc.unwrap_rpc_secret(again.of("Secret")["prometheus"]["stringData"]) == told, "each `up` would change it"


def test_the_page_and_the_login_are_outputs() -> None:
    _, outputs = made(port=9191)
    assert outputs["monitoring_url"] == f"http://prometheus.{NAMESPACE}.svc:9191/consoles/index.html"
    assert set(outputs["monitoring_login"]) == {"username", "password"}


def test_another_retention_makes_another_pod(graph: Graph) -> None:
    other = made(alerts_url=WEBHOOK, retention_days=3, size_gb=100)[0]
    settings = yaml.safe_load(other.of("ConfigMap")["prometheus"]["data"]["prometheus.yaml"])
    assert settings["storage"]["tsdb"]["retention"] == {"time": "3d", "size": "81920MB"}
    annotations = [
        each.of("Deployment")["prometheus"]["spec"]["template"]["metadata"]["annotations"] for each in (graph, other)
    ]
    assert annotations[0] != annotations[1]


def test_without_a_webhook_there_is_no_alertmanager() -> None:
    graph, _ = made()
    assert "alertmanager" not in graph.of("Deployment")
    assert "alerting" not in yaml.safe_load(graph.of("ConfigMap")["prometheus"]["data"]["prometheus.yaml"])


def test_the_webhook_is_in_a_secret_alone_and_in_no_message(graph: Graph) -> None:
    assert rpc.unwrap_rpc_secret(graph.of("Secret")["alertmanager"]["stringData"])["url"] == WEBHOOK
    assert WEBHOOK not in str({key: inputs for key, inputs in graph.resources.items() if key[0] != "Secret"})
    assert WEBHOOK not in repr(MonitoringSettings(alerts_url=WEBHOOK))


def test_its_rules_and_its_page_are_in_the_pod(graph: Graph) -> None:
    places = {
        item["path"]: item["key"]
        for volume in specifications(graph)["prometheus"]["volumes"]
        for item in volume.get("configMap", {}).get("items", [])
    }
    assert set(places.values()) == set(graph.of("ConfigMap")["prometheus"]["data"])
    assert places["consoles/index.html"] == "index.html"
    assert {"alerts.rules.yaml", "models.rules.yaml"} <= set(places)
