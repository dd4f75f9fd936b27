"""The resources of monitoring: rights, network policies and the configuration of Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import bcrypt
import pulumi
import pytest
import yaml
from mlplatform.k8s.namespace import SERVING, namespace
from mlplatform.monitoring.monitoring import Monitoring
from mlplatform.monitoring.scraping import IMAGES, NAMESPACE, grant_pod_discovery
from mlplatform.platform import _expected
from pulumi.runtime import rpc

from airgap.bundle.source_table import load_sources
from infra.cluster import Cluster, provider
from infra.registry import ContainerRegistry
from policies import claims, pods
from settings.platform import MonitoringSettings, PlatformSettings
from tests.preview.graph import Graph, run
from workloads.serving import kubernetes

Rule = Callable[[str, Any], Iterator[str]]
KINDS = ("Deployment", "DaemonSet")
WEBHOOK = "https://hooks.example.com/t0ken"


def render(
    kubeflow: bool = True,
    verified_kubelets: bool = False,
    expected: Sequence[str] = (),
    door: str = "",
    **settings: Any,
) -> tuple[Graph, Any]:
    def program() -> Any:
        text = pulumi.Output.from_input("text")
        cluster = Cluster(
            "lab",
            text,
            provider("lab", "text", upsert=True),
            text,
            pulumi.Output.from_input([]),
            storage_class="disk",
            verified_kubelets=verified_kubelets,
        )
        registry = ContainerRegistry(text, text, pulumi.Output.secret("word"), text)
        kubeflow_namespace = namespace("kubeflow", cluster, registry)
        grant_pod_discovery(namespace(SERVING, cluster, registry))
        return Monitoring(
            MonitoringSettings(**settings),
            cluster,
            registry,
            kubeflow_namespace.resources if kubeflow else (),
            door=door,
            expected=expected,
        ).outputs

    return run(program)


@pytest.fixture(scope="module")
def graph() -> Graph:
    """Return the resources of monitoring with Kubeflow Pipelines and Alertmanager."""
    return render(alerts_url=WEBHOOK)[0]


def specifications(graph: Graph) -> dict[str, dict[str, Any]]:
    return {name: inputs["spec"]["template"]["spec"] for kind in KINDS for name, inputs in graph.of(kind).items()}


def scraped(graph: Graph) -> dict[str, dict[str, Any]]:
    configuration = yaml.safe_load(graph.of("ConfigMap")["prometheus"]["data"]["prometheus.yaml"])
    return {job["job_name"]: job for job in configuration["scrape_configs"]}


@pytest.mark.parametrize("rule", [pods.unpinned_image, pods.without_limits, pods.root_user, pods.plain_secret])
def test_pods_obey_the_policies(graph: Graph, rule: Rule) -> None:
    faults = {
        name: list(rule(f"kubernetes:apps/v1:{kind}", inputs))
        for kind in KINDS
        for name, inputs in graph.of(kind).items()
    }
    assert {name: each for name, each in faults.items() if each} == {}


def test_volume_uses_the_storage_class_of_the_cluster(graph: Graph) -> None:
    (claim,) = graph.of("PersistentVolumeClaim").values()
    assert list(claims.claim_without_class("kubernetes:core/v1:PersistentVolumeClaim", claim)) == []
    assert claim["spec"]["storageClassName"] == "disk"


def test_images_are_exactly_those_of_the_bundle_table(graph: Graph) -> None:
    table = load_sources()
    used = {container["image"] for pod in specifications(graph).values() for container in pod["containers"]}
    assert used == set(IMAGES.values())
    assert used <= {table.upstream_name(image) for image in table.image}


def test_containers_are_read_only_and_not_root(graph: Graph) -> None:
    for name, pod in specifications(graph).items():
        for container in pod["containers"]:
            security = {**pod["securityContext"], **container["securityContext"]}
            assert security["readOnlyRootFilesystem"], name
            assert security["runAsNonRoot"], name
            assert security["capabilities"] == {"drop": ["ALL"]}, name
            assert "readinessProbe" in container, name
            assert "livenessProbe" in container, name


def test_only_node_exporter_runs_in_a_privileged_namespace(graph: Graph) -> None:
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


@pytest.mark.parametrize("verified", [True, False])
def test_kubelets_are_verified_where_the_cluster_signs_their_certificates(verified: bool) -> None:
    jobs = scraped(render(verified_kubelets=verified)[0])
    authority = {"ca_file": "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"}
    for name in ("kubelet", "containers"):
        assert jobs[name]["tls_config"] == (authority if verified else {"insecure_skip_verify": True})
    assert jobs["api-server"]["tls_config"] == authority


def test_rights_are_limited_to_reading_nodes_pods_leases_and_metrics(graph: Graph) -> None:
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
        "kube-state-metrics": [(["nodes", "pods"], ["list", "watch"]), (["leases"], ["list", "watch"])],
    }
    assert {role["metadata"]["namespace"] for role in graph.of("Role").values()} == {SERVING, "mlplatform-nodes"}
    assert all(role["rules"][0]["resources"] == ["pods"] for role in graph.of("Role").values())
    with_token = {name for name, pod in specifications(graph).items() if pod["automountServiceAccountToken"]}
    assert with_token == {"prometheus", "kube-state-metrics"}


def test_policies_admit_any_client_to_prometheus_and_prometheus_to_the_rest(graph: Graph) -> None:
    policies = graph.of("NetworkPolicy")
    assert "from" not in policies["prometheus"]["spec"]["ingress"][0]
    for name in ("node-exporter", "kube-state-metrics", "alertmanager", "kubeflow-prometheus"):
        ((source,),) = (rule["from"] for rule in policies[name]["spec"]["ingress"])
        assert source["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": NAMESPACE}
        assert source["podSelector"]["matchLabels"]["app.kubernetes.io/name"] == "prometheus"


def test_scrape_jobs_cover_nodes_pods_api_server_models_and_prometheus(graph: Graph) -> None:
    jobs = {"prometheus", "kubelet", "containers", "api-server", "nodes", "objects", "model-servers"}
    assert set(scraped(graph)) == {*jobs, "kubeflow"}
    assert set(scraped(render(kubeflow=False)[0])) == jobs
    (found,) = scraped(graph)["model-servers"]["kubernetes_sd_configs"]
    assert found["namespaces"] == {"names": [kubernetes.NAMESPACE]}


def test_only_the_api_server_certificate_is_verified(graph: Graph) -> None:
    secure = {name for name, job in scraped(graph).items() if "ca_file" in job.get("tls_config", {})}
    assert secure == {"api-server"}
    assert {name for name, job in scraped(graph).items() if "authorization" in job} == {
        *("api-server", "kubelet", "containers")
    }


def test_password_is_required_and_stored_as_a_hash(graph: Graph) -> None:
    content = rpc.unwrap_rpc_secret(graph.of("Secret")["prometheus"]["stringData"])
    (hashed,) = yaml.safe_load(content["web.yaml"])["basic_auth_users"].values()
    assert bcrypt.checkpw(content["password"].encode(), hashed.encode())
    assert content["password"] not in content["web.yaml"]
    (container,) = specifications(graph)["prometheus"]["containers"]
    assert "--web.config.file=/etc/prometheus-login/web.yaml" in container["args"]
    again = render(alerts_url=WEBHOOK)[0]
    assert rpc.unwrap_rpc_secret(again.of("Secret")["prometheus"]["stringData"]) == content, "each `up` would change it"


def test_outputs_are_the_page_and_the_login() -> None:
    _, outputs = render(port=9191)
    assert outputs["monitoring_url"] == f"http://prometheus.{NAMESPACE}.svc:9191/consoles/index.html"
    assert set(outputs["monitoring_login"]) == {"username", "password"}


def test_changed_retention_replaces_the_pod(graph: Graph) -> None:
    other = render(alerts_url=WEBHOOK, retention_days=3, size_gb=100)[0]
    settings = yaml.safe_load(other.of("ConfigMap")["prometheus"]["data"]["prometheus.yaml"])
    assert settings["storage"]["tsdb"]["retention"] == {"time": "3d", "size": "81920MB"}
    annotations = [
        each.of("Deployment")["prometheus"]["spec"]["template"]["metadata"]["annotations"] for each in (graph, other)
    ]
    assert annotations[0] != annotations[1]


def test_alertmanager_without_webhook_is_not_created() -> None:
    graph, _ = render()
    assert "alertmanager" not in graph.of("Deployment")
    assert "alerting" not in yaml.safe_load(graph.of("ConfigMap")["prometheus"]["data"]["prometheus.yaml"])


def test_webhook_is_only_in_a_secret_and_in_no_message(graph: Graph) -> None:
    assert rpc.unwrap_rpc_secret(graph.of("Secret")["alertmanager"]["stringData"])["url"] == WEBHOOK
    assert WEBHOOK not in str({key: inputs for key, inputs in graph.resources.items() if key[0] != "Secret"})
    assert WEBHOOK not in repr(MonitoringSettings(alerts_url=WEBHOOK))


@pytest.mark.parametrize("expected", [[], ["backup"], ["backup", "drill"]])
def test_constants_tell_whether_backups_and_drills_are_expected(expected: list[str]) -> None:
    graph, _ = render(expected=expected)
    text: str = graph.of("ConfigMap")["prometheus"]["data"].get("constants.rules.yaml", "")
    assert [f"{each}_expected" in text for each in ("backup", "drill")] == ["backup" in expected, "drill" in expected]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, []),
        ({"backup": {"target": "/backups", "password": "long-enough"}}, ["backup", "drill"]),
        (
            {
                "backup": {"target": "/backups", "password": "long-enough"},
                "tracking": {"database_url": "postgresql://u:p@db.example.com/mlflow"},
            },
            ["backup"],
        ),
    ],
)
def test_drill_is_expected_of_stores_inside_the_stack(settings: dict[str, Any], expected: list[str]) -> None:
    assert _expected(PlatformSettings.model_validate(settings)) == expected


@pytest.mark.parametrize("door", ["mlplatform-door", ""])
def test_certificate_of_a_door_is_scraped(door: str) -> None:
    graph, _ = render(door=door)
    target = {"static_configs": [{"targets": ["door.mlplatform-door.svc:80"]}], "metrics_path": "/door/metrics"}
    assert scraped(graph).get("door") == ({"job_name": "door", **target} if door else None)
    assert ("mlplatform-door" in str(graph.of("NetworkPolicy")["prometheus"]["spec"]["egress"])) == bool(door)


def test_rules_and_page_are_mounted_in_the_pod(graph: Graph) -> None:
    places = {
        item["path"]: item["key"]
        for volume in specifications(graph)["prometheus"]["volumes"]
        for item in volume.get("configMap", {}).get("items", [])
    }
    assert set(places.values()) == set(graph.of("ConfigMap")["prometheus"]["data"])
    assert places["consoles/index.html"] == "index.html"
    assert {"alerts.rules.yaml", "models.rules.yaml"} <= set(places)
