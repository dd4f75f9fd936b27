"""The resources of Kubeflow Pipelines: rights, network policies, stores and images."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pulumi
import pytest
from mlplatform.images.image import LIBRARIES, Image
from mlplatform.kubeflow.kubeflow_images import IMAGES
from mlplatform.kubeflow.kubeflow_pipelines import KubeflowPipelines
from mlplatform.required_images import require_images
from mlplatform.stores import postgresql, seaweedfs

from airgap.bundle.source_table import load_sources
from infra.cluster import Cluster, provider
from infra.registry import ContainerRegistry
from policies import pods
from settings.platform import KubeflowSettings, PlatformSettings
from tests.preview.graph import Graph, run

Rule = Callable[[str, Any], Iterator[str]]


def graph_of(settings: KubeflowSettings) -> Graph:
    def program() -> Any:
        text = pulumi.Output.from_input("text")
        cluster = Cluster(
            "lab", text, provider("lab", "text", upsert=True), text, pulumi.Output.from_input([]), storage_class="disk"
        )
        registry = ContainerRegistry(text, text, pulumi.Output.secret("word"), text)
        return KubeflowPipelines(
            settings, cluster, registry, Image(LIBRARIES, registry), Path("/nowhere"), "lab"
        ).outputs["ui_url"]

    graph, url = run(program)
    assert url == "http://ml-pipeline-ui.kubeflow.svc:8080"
    return graph


@pytest.fixture(scope="module")
def graph() -> Graph:
    return graph_of(KubeflowSettings())


def containers(graph: Graph) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, deployment in graph.of("Deployment").items():
        pod = deployment["spec"]["template"]["spec"]
        for container in [*pod["initContainers"], *pod["containers"]]:
            yield name, container


def test_deployments_are_those_of_a_standalone_installation(graph: Graph) -> None:
    assert set(graph.of("Deployment")) == {
        "mysql",
        "seaweedfs",
        "metadata-grpc-deployment",
        "workflow-controller",
        "ml-pipeline",
        "ml-pipeline-persistenceagent",
        "ml-pipeline-scheduledworkflow",
        "ml-pipeline-ui",
        "metadata-envoy",
    }


@pytest.mark.parametrize("rule", [pods.unpinned_image, pods.without_limits, pods.root_user, pods.plain_secret])
def test_pods_obey_the_policies(graph: Graph, rule: Rule) -> None:
    faults = {
        name: list(rule("kubernetes:apps/v1:Deployment", deployment))
        for name, deployment in graph.of("Deployment").items()
    }
    assert {name: each for name, each in faults.items() if each} == {}


def test_volumes_use_the_default_storage_class(graph: Graph) -> None:
    volumes = graph.of("PersistentVolumeClaim")
    assert {name: claim["spec"]["storageClassName"] for name, claim in volumes.items()} == {
        "mysql": "disk",
        "seaweedfs": "disk",
    }


def test_every_server_has_a_readiness_probe(graph: Graph) -> None:
    probed = {name for name, container in containers(graph) if "readinessProbe" in container}
    assert probed == set(graph.of("Deployment")) - {"ml-pipeline-persistenceagent", "ml-pipeline-scheduledworkflow"}


def test_only_clients_of_the_kubernetes_api_have_a_token(graph: Graph) -> None:
    with_token = {
        name
        for name, deployment in graph.of("Deployment").items()
        if deployment["spec"]["template"]["spec"]["automountServiceAccountToken"]
    }
    assert with_token == {
        "workflow-controller",
        "ml-pipeline",
        "ml-pipeline-persistenceagent",
        "ml-pipeline-scheduledworkflow",
        "ml-pipeline-ui",
    }
    assert graph.of("ClusterRole") == {}


def test_steps_may_read_only_two_named_objects(graph: Graph) -> None:
    named = {rule["resources"][0]: rule.get("resourceNames") for rule in graph.of("Role")["pipeline-runner"]["rules"]}
    assert named == {
        "secrets": ["mlpipeline-minio-artifact"],
        "configmaps": ["kfp-launcher"],
        "workflowtaskresults": None,
    }


def test_scheduler_may_create_runs_and_persistence_agent_only_read_them(graph: Graph) -> None:
    verbs = {
        name: set(rule["verbs"])
        for name, role in graph.of("Role").items()
        for rule in role["rules"]
        if rule["resources"] == ["workflows"]
    }
    assert "create" in verbs["ml-pipeline-scheduledworkflow"]
    assert verbs["ml-pipeline-persistenceagent"] == {"get", "list", "watch"}


def test_ui_is_reachable_only_through_the_password_proxy(graph: Graph) -> None:
    (port,) = graph.of("Service")["ml-pipeline-ui"]["spec"]["ports"]
    (rule,) = graph.of("NetworkPolicy")["ml-pipeline-ui"]["spec"]["ingress"]
    assert port["targetPort"] == rule["ports"][0]["port"] == 8080
    assert "from" not in rule


def test_images_are_in_the_bundle_table(graph: Graph) -> None:
    used = {container["image"] for _, container in containers(graph) if container["name"] != "wait"}
    used |= {
        variable["value"]
        for _, container in containers(graph)
        for variable in container.get("env", [])
        if variable["name"].endswith("_IMAGE")
    }
    used |= {
        argument
        for _, container in containers(graph)
        for argument in container.get("args", [])
        if "argoexec" in argument
    }
    assert used == set(IMAGES.values())
    table = load_sources()
    assert used <= {*table.upstream.images, *map(table.upstream_name, table.image)}


def test_external_database_and_bucket_replace_the_own_servers() -> None:
    database = {"host": "db.example.com", "user": "kfp", "password": "word", "pipelines": "runs", "metadata": "meta"}
    objects = {"host": "s3.example.com", "bucket": "kfp", "access_key": "who", "secret_key": "key"}
    graph = graph_of(KubeflowSettings.model_validate({"database": database, "objects": objects}))
    assert not {"mysql", "seaweedfs"} & (set(graph.of("Deployment")) | set(graph.of("Service")))
    assert graph.of("PersistentVolumeClaim") == {}
    login, connection = (
        graph.of("Secret")[name]["stringData"]["value"] for name in ("mysql-secret", "metadata-grpc-deployment")
    )
    assert login == {"username": "kfp", "password": "word"}
    content = connection["store.pbtxt"]
    assert 'host: "db.example.com"' in content
    assert 'database: "meta"' in content
    provider = json.loads(graph.of("ConfigMap")["kfp-launcher"]["data"]["providers"])["minio"]["default"]
    assert (provider["endpoint"], provider["disableSSL"]) == ("s3.example.com:443", False)
    server = graph.of("Deployment")["ml-pipeline"]["spec"]["template"]["spec"]["containers"][0]
    environment = {variable["name"]: variable.get("value") for variable in server["env"]}
    assert environment["DBCONFIG_MYSQLCONFIG_DBNAME"] == "runs"
    assert environment["OBJECTSTORECONFIG_HOST"] == "s3.example.com"
    ports = [rule["ports"][0]["port"] for rule in graph.of("NetworkPolicy")["ml-pipeline"]["spec"]["egress"][2:]]
    assert {3306, 443} <= set(ports)


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MLPLATFORM_CACHE", str(tmp_path))
    (tmp_path / "bundle").mkdir()
    return tmp_path / "bundle" / "bundle.json"


def test_require_images_names_all_missing_images_at_once(bundle: Path) -> None:
    lacking = {IMAGES["driver"], IMAGES["database"]}
    bundle.write_text(json.dumps({"images": {image: {} for image in set(IMAGES.values()) - lacking}}))
    with pytest.raises(pulumi.RunError, match="platform:pipelines: kubeflow") as error:
        require_images(PlatformSettings(pipelines="kubeflow"))
    assert {image for image in IMAGES.values() if image in str(error.value)} == lacking


def test_require_images_complete_bundle_passes(bundle: Path) -> None:
    bundle.write_text(json.dumps({"images": {image: {} for image in IMAGES.values()}}))
    require_images(PlatformSettings(pipelines="kubeflow"))


def test_require_images_of_replicated_stores_names_them_for_such_stacks_only(bundle: Path) -> None:
    images = {postgresql.IMAGE, seaweedfs.IMAGE}
    bundle.write_text(json.dumps({"images": {}}))
    require_images(PlatformSettings())
    with pytest.raises(
        pulumi.RunError, match=r"(?s)platform:stores: replicated takes images .* set platform:stores: single"
    ):
        require_images(PlatformSettings(), replicated=True)
    bundle.write_text(json.dumps({"images": dict.fromkeys(images)}))
    require_images(PlatformSettings(), replicated=True)
