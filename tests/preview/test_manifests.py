"""All rendered manifests against the OpenAPI schema of Kubernetes."""

from __future__ import annotations

import copy
import fnmatch
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from mlplatform.addons import vendored_manifests
from mlplatform.addons.metrics_server import MetricsServer
from mlplatform.addons.vendored_manifests import pod_of, read_manifests
from mlplatform.engine_config import JobEngineConfig
from mlplatform.k8s.namespace import ACCOUNT
from mlplatform.k8s.waiting import AWAIT_ADDRESS, SKIP_AWAIT
from pulumi.runtime import rpc

from policies import pods
from settings.paths import PROJECT, VERSIONS
from tests.kubeflow.stand_in import config_for
from tests.stand_ins import kubeconfig
from workloads.engines.base import RunRequest
from workloads.engines.job.job_engine import JobEngine
from workloads.engines.job.job_manifests import job_manifest, loop_manifest, secret_manifest
from workloads.engines.kubeflow.kubeflow_engine import KubeflowEngine
from workloads.engines.kubeflow.run_markers import RunMarkers
from workloads.engines.pod_loops import LoopPods

from .graph import Graph, run
from .rendered import PROGRAMS, a_cluster, graph_of
from .schema import SCHEMA, faults

Rule = Callable[[str, Mapping[str, Any]], Iterator[str]]
REQUEST = RunRequest("iris", "iris-1", "iris-v1", {"rows": 3}, secrets={"TOKEN": "word"}, timeout_minutes=5)


def plain(value: Any) -> Any:
    """Return a value without the wrappers of secrets."""
    if rpc.is_rpc_secret(value):
        return plain(rpc.unwrap_rpc_secret(value))
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, list) else value


def objects(graph: Graph) -> dict[str, dict[str, Any]]:
    """Return the Kubernetes objects of a graph by kind and name."""
    return {
        f"{kind} {name}": plain(inputs) for (kind, name), inputs in graph.resources.items() if "apiVersion" in inputs
    }


@pytest.fixture(scope="module")
def graphs() -> Mapping[str, Graph]:
    return {name: graph_of(name) for name in PROGRAMS}


@pytest.mark.parametrize("program", PROGRAMS)
def test_manifest_of_each_program_has_no_fault(graphs: Mapping[str, Graph], program: str) -> None:
    rendered = objects(graphs[program])
    assert rendered
    assert [fault for each in rendered.values() for fault in faults(each)] == []


@pytest.mark.parametrize("rule", [pods.without_limits, pods.root_user, pods.plain_secret])
def test_pods_of_each_program_keep_the_policies(graphs: Mapping[str, Graph], rule: Rule) -> None:
    templates = [
        (program, f"kubernetes:{each['apiVersion']}:{each['kind']}", each)
        for program, graph in graphs.items()
        for each in objects(graph).values()
        if "template" in each.get("spec", {})
    ]
    assert templates
    found = [f"{program}: {fault}" for program, kind, each in templates for fault in rule(kind, each)]
    assert found == []


def test_service_of_each_program_waits_for_nothing_but_an_address(graphs: Mapping[str, Graph]) -> None:
    services = [each for graph in graphs.values() for each in objects(graph).values() if each["kind"] == "Service"]
    assert services
    for each in services:
        load_balancer = each["spec"].get("type") == "LoadBalancer"
        assert (AWAIT_ADDRESS if load_balancer else SKIP_AWAIT).items() <= each["metadata"]["annotations"].items()


def test_programs_render_every_kind_of_the_schema(graphs: Mapping[str, Graph]) -> None:
    rendered = {f"{each['apiVersion']}/{each['kind']}" for graph in graphs.values() for each in objects(graph).values()}
    assert {kind for kind in SCHEMA["kinds"] if kind not in rendered} == {"batch/v1/Job"}  # by the engine `job`


class Recorder:
    """An API client that records the bodies of created objects."""

    def __init__(self) -> None:
        self.bodies: dict[str, dict[str, Any]] = {}
        self.core = self

    def __getattr__(self, name: str) -> Any:
        kind = name.removeprefix("create_namespaced_")
        if kind == name:  # `retry` and the like, which call what they are given
            return lambda call: call()

        def create(_namespace: str, body: dict[str, Any]) -> dict[str, Any]:
            self.bodies[kind] = body
            return body

        return create


def engine_objects(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects that the engines create through the API server."""
    job = JobEngine(JobEngineConfig(kubeconfig("http://127.0.0.1:1"), "n", "i", str(tmp_path)))
    job.api = uploads = Recorder()  # type: ignore[assignment]
    package = "{root: {dag: {tasks: {}}}, components: {}, deploymentSpec: {executors: {}}}"
    job.upload("iris", "v1", package, ["TOKEN"], 5)
    yield {"apiVersion": "v1", "kind": "ConfigMap", **uploads.bodies["config_map"]}
    yield {"apiVersion": "batch/v1", "kind": "Job", **job_manifest("iris-1", REQUEST, "image")}
    run_job = SimpleNamespace(metadata=SimpleNamespace(name="iris-1", uid="uid"))
    loop = loop_manifest("iris-1-a", run_job, REQUEST, "image", LoopPods("a", 3, 2))
    yield {"apiVersion": "batch/v1", "kind": "Job", **loop}
    yield {"apiVersion": "v1", "kind": "Secret", **secret_manifest("iris-1", "uid", REQUEST.secrets)}
    yield from _kubeflow_objects(tmp_path)


def _kubeflow_objects(tmp_path: Path) -> Iterator[dict[str, Any]]:
    kubeflow = KubeflowEngine(config_for("http://127.0.0.1:1", tmp_path))
    kubeflow.api = recorder = Recorder()  # type: ignore[assignment]
    kubeflow._markers = RunMarkers(kubeflow.api, kubeflow.namespace)
    kubeflow._kfp = SimpleNamespace  # type: ignore[assignment,method-assign]  # ends the run once it is marked
    with pytest.raises((TypeError, AttributeError)):
        kubeflow.run(REQUEST)
    yield {"apiVersion": "v1", "kind": "Secret", **recorder.bodies["secret"]}
    yield {"apiVersion": "v1", "kind": "ConfigMap", **recorder.bodies["config_map"]}


def test_manifest_of_each_engine_has_no_fault(tmp_path: Path) -> None:
    rendered = list(engine_objects(tmp_path))
    assert [each["kind"] for each in rendered] == ["ConfigMap", "Job", "Job", "Secret", "Secret", "ConfigMap"]
    assert [fault for each in rendered for fault in faults(each)] == []


@pytest.fixture
def deployment(graphs: Mapping[str, Graph]) -> dict[str, Any]:
    return copy.deepcopy(objects(graphs["monitoring"])["Deployment prometheus"])


def test_faults_misspelt_field_is_named_with_its_path(deployment: dict[str, Any]) -> None:
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    container["readinesProbe"] = container.pop("readinessProbe")
    (fault,) = faults(deployment)
    assert fault.startswith("Deployment prometheus: spec.template.spec.containers[0]: ")
    assert "'readinesProbe'" in fault


def test_faults_value_of_another_type_is_named_with_its_path(deployment: dict[str, Any]) -> None:
    deployment["spec"]["replicas"] = "1"
    (fault,) = faults(deployment)
    assert fault == 'Deployment prometheus: spec.replicas: "1" is not of type "integer"'


def test_faults_missing_required_field_is_named_with_its_path(deployment: dict[str, Any]) -> None:
    del deployment["spec"]["template"]["spec"]["containers"][0]["name"]
    (fault,) = faults(deployment)
    assert fault == 'Deployment prometheus: spec.template.spec.containers[0]: "name" is a required property'


def test_faults_misspelt_field_of_a_custom_resource_is_found(graphs: Mapping[str, Graph]) -> None:
    pool = copy.deepcopy(objects(graphs["metallb"])["IPAddressPool load-balancer-addresses"])
    pool["spec"]["adresses"] = pool["spec"].pop("addresses")
    found = "\n".join(faults(pool))
    assert "'adresses'" in found
    assert '"addresses" is a required property' in found


def test_schema_version_is_the_one_of_versions_toml() -> None:
    assert SCHEMA["version"] == f"v{VERSIONS['kubernetes']['version']}"


@pytest.mark.parametrize("verified", [True, False])
def test_metrics_server_verifies_kubelets_whose_certificates_the_cluster_signs(verified: bool) -> None:
    graph, _ = run(lambda: MetricsServer(replace(a_cluster(), verified_kubelets=verified)))
    (server,) = graph.of("Deployment")["metrics-server"]["spec"]["template"]["spec"]["containers"]
    assert ("--kubelet-insecure-tls" in server["args"]) is not verified
    assert any(each.startswith("--kubelet-certificate-authority=") for each in server["args"]) is verified


@pytest.mark.parametrize("name", ["flannel", "metallb", "metrics-server"])
def test_vendored_manifests_version_is_the_one_of_versions_toml(name: str) -> None:
    header = (vendored_manifests.VENDOR / f"{name}.yaml").read_text().splitlines()[:4]
    assert f"# Version: {VERSIONS[name]['version']}" in header
    assert VERSIONS[name]["version"] in header[0]
    assert header[2].startswith("# Licence: Apache License 2.0")


@pytest.mark.parametrize("program", ["flannel", "metallb", "metrics-server"])
def test_addon_creates_every_vendored_object_under_its_name(graphs: Mapping[str, Graph], program: str) -> None:
    webhook = {"metallb-webhook-cert", "metallb-webhook-service", "metallb-webhook-configuration"}
    vendored = {(kind, name) for kind, name in read_manifests(program) if name not in webhook}
    rendered = {(each["kind"], each["metadata"]["name"]) for each in objects(graphs[program]).values()}
    assert vendored <= rendered


@pytest.mark.parametrize("program", ["flannel", "flannel upstream", "metallb", "metrics-server"])
def test_addon_images_are_those_of_versions_toml(graphs: Mapping[str, Graph], program: str) -> None:
    versions = VERSIONS[program.split()[0]]
    images = {
        container["image"]
        for each in objects(graphs[program]).values()
        if each["kind"] in ("Deployment", "DaemonSet")
        for container in [
            *pod_of(each).get("initContainers", []),
            *pod_of(each)["containers"],
        ]
    }
    assert {image.rpartition(":")[2] for image in images} <= {versions["version"], versions.get("plugin")}
    assert not any("staging" in image for image in images)


@pytest.mark.parametrize("program", ["metallb", "metrics-server"])
def test_addon_readiness_is_probed_at_once_and_often(graphs: Mapping[str, Graph], program: str) -> None:
    (deployment,) = [each for each in objects(graphs[program]).values() if each["kind"] == "Deployment"]
    for container in pod_of(deployment)["containers"]:
        probe = container["readinessProbe"]
        assert probe.get("initialDelaySeconds", 0) == 0
        assert probe["periodSeconds"] <= 5


def test_provisioner_of_volumes_leaves_a_dead_node_after_half_a_minute(graphs: Mapping[str, Graph]) -> None:
    (deployment,) = [each for each in objects(graphs["openebs"]).values() if each["kind"] == "Deployment"]
    tolerations = pod_of(deployment)["tolerations"]
    assert {each["key"]: each["tolerationSeconds"] for each in tolerations} == {
        "node.kubernetes.io/not-ready": 30,
        "node.kubernetes.io/unreachable": 30,
    }


def test_flannel_network_is_that_of_the_settings(graphs: Mapping[str, Graph]) -> None:
    data = objects(graphs["flannel"])["ConfigMap kube-flannel-cfg"]["data"]
    assert yaml.safe_load(data["net-conf.json"])["Network"] == "10.32.0.0/16"
    assert yaml.safe_load(data["cni-conf.json"])["cniVersion"] == "0.3.1"


def test_metallb_has_no_webhook_and_no_right_to_write_secrets(graphs: Mapping[str, Graph]) -> None:
    rendered = objects(graphs["metallb"])
    assert not any("Webhook" in name or "webhook" in name for name in rendered)
    rules = [rule for each in rendered.values() for rule in each.get("rules", [])]
    assert all(set(rule["verbs"]) <= {"get", "list", "watch"} for rule in rules if "secrets" in rule["resources"])
    (controller,) = rendered["Deployment metallb-controller"]["spec"]["template"]["spec"]["containers"]
    assert controller["args"] == ["--port=0", "--webhook-mode=disabled", "--disable-cert-rotation=true"]


def test_accounts_reach_no_secrets_but_those_that_their_rules_name(graphs: Mapping[str, Graph]) -> None:
    broad = {
        name
        for graph in graphs.values()
        for name, each in objects(graph).items()
        for rule in each.get("rules", [])
        if {"secrets", "*"} & {*rule.get("resources", [])} and not rule.get("resourceNames")
    }
    assert broad == {"Role metallb-controller", "Role metallb-pod-lister"}  # of upstream, read only


def test_account_of_pods_without_rights_has_no_token(graphs: Mapping[str, Graph]) -> None:
    accounts = [each for graph in graphs.values() for each in graph.of("ServiceAccount").values()]
    workloads = [each for each in map(plain, accounts) if each["metadata"]["name"] == ACCOUNT]
    assert len(workloads) > 3
    assert {each["automountServiceAccountToken"] for each in workloads} == {False}


def test_policies_of_pods_limit_both_directions(graphs: Mapping[str, Graph]) -> None:
    policies = {name: each for graph in graphs.values() for name, each in graph.of("NetworkPolicy").items()}
    partial = {name for name, each in policies.items() if {*each["spec"]["policyTypes"]} != {"Ingress", "Egress"}}
    assert partial == {"kubeflow-prometheus"}  # adds connections of Prometheus to those of other policies


def test_metallb_speakers_find_a_dead_one_within_two_seconds(graphs: Mapping[str, Graph]) -> None:
    rendered = objects(graphs["metallb"])
    members = json.loads(rendered["ConfigMap metallb-memberlist"]["data"]["config.json"])
    interval = float(members["ProbeInterval"].removesuffix("ms")) / 1000
    # With three speakers, a speaker probes another one in at least each third interval.
    assert (3 + 1 + members["SuspicionMult"]) * interval <= 2
    volumes = pod_of(rendered["DaemonSet metallb-speaker"])["volumes"]
    assert {"name": "metallb-memberlist-config", "optional": True} in [each.get("configMap") for each in volumes]
    assert rendered["DaemonSet metallb-speaker"]["spec"]["template"]["metadata"]["annotations"].keys() == {"settings"}


OF_MACHINES = ("**kubeconfig", "**certificates-expire")
"""Replacements of commands on machines, which are not in these graphs. tests/lab/test_control_planes.py runs them."""


def test_documented_replacements_are_each_of_one_resource(graphs: Mapping[str, Graph]) -> None:
    """Pulumi creates what it replaces before it deletes the old one, which has the same name in Kubernetes."""
    pages = "".join(page.read_text() for page in (PROJECT / "docs").glob("*.md"))
    patterns = {each for each in re.findall(r"--replace '([^']+)'", pages) if each not in OF_MACHINES}
    named = {f"urn:{kind}::{name}" for graph in graphs.values() for kind, name in graph.resources}
    matched = {pattern: fnmatch.filter(named, pattern) for pattern in patterns}
    assert len(patterns) > 2
    assert [pattern for pattern, resources in matched.items() if len(resources) != 1] == []


def test_node_watch_may_list_nodes_and_patch_the_status_of_pods_only(graphs: Mapping[str, Graph]) -> None:
    rendered = objects(graphs["node-watch"])
    verbs = {
        (each, *rule["verbs"]) for rule in rendered["ClusterRole node-watch"]["rules"] for each in rule["resources"]
    }
    assert verbs == {("nodes", "list"), ("pods", "list"), ("pods/status", "patch")}
    pod = pod_of(rendered["DaemonSet node-watch"])
    assert (pod["hostNetwork"], pod["securityContext"]["runAsNonRoot"]) == (True, True)
    assert list(pod["nodeSelector"]) == ["node-role.kubernetes.io/control-plane"]
