"""Rights of pods on nodes and in the network, quotas, volumes that outlive their stack, and kubeadm's configuration."""

from __future__ import annotations

import ipaddress
import subprocess
from pathlib import PurePath
from typing import Any

import pulumi
import pytest
import yaml
from mlplatform.k8s.namespace import METADATA_SERVICES
from mlplatform.step_egress import _open_rule

from tests.preview.clusters.test_ownership import ALL, rendered, stack_settings
from tests.preview.graph import Graph, run
from tests.preview.rendered import graph_of
from tests.preview.rendered import kubeflow as rendered_kubeflow
from tests.sandbox import Sandbox

NODES = {"192.0.2.21/32", "198.51.100.21/32"}
API = {"10.0.0.1/32", "192.0.2.11/32"}


@pytest.fixture(scope="module")
def kubeflow() -> Graph:
    return rendered(stack_settings(**ALL))


@pytest.fixture(scope="module")
def jobs() -> Graph:
    return rendered(stack_settings())


def policy(graph: Graph, name: str) -> dict[str, Any]:
    return dict(graph.of("NetworkPolicy")[name]["spec"])


def blocks(spec: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the address ranges that a policy allows without naming a port."""
    return [
        peer["ipBlock"] for rule in spec["egress"] if "ports" not in rule for peer in rule["to"] if "ipBlock" in peer
    ]


@pytest.mark.parametrize(("engine", "name"), [("jobs", "pipeline-run"), ("kubeflow", "pipeline-steps")])
def test_steps_reach_neither_nodes_nor_api_server_nor_metadata_services(
    request: pytest.FixtureRequest, engine: str, name: str
) -> None:
    (block,) = blocks(policy(request.getfixturevalue(engine), name))
    assert block["cidr"] == "0.0.0.0/0"
    assert set(block["except"]) == {*METADATA_SERVICES, *NODES, *API}
    assert {"168.63.129.16/32", "100.100.100.200/32", "169.254.0.0/16"} < set(block["except"])


def test_every_policy_closes_the_metadata_services(kubeflow: Graph) -> None:
    ranges = [
        peer["ipBlock"]
        for each in kubeflow.of("NetworkPolicy").values()
        for rule in each["spec"].get("egress") or []
        for peer in rule.get("to", [])
        if "ipBlock" in peer
    ]
    assert len(ranges) > 5
    assert all(set(METADATA_SERVICES) <= set(each["except"]) for each in ranges)


def test_egress_of_the_settings_replaces_the_default() -> None:
    graph = rendered(stack_settings(platform={"egress": ["198.51.100.0/24", "192.0.2.21/32"]}))
    assert blocks(policy(graph, "pipeline-run")) == [
        {"cidr": "198.51.100.0/24", "except": ["198.51.100.21/32"]},
        {"cidr": "192.0.2.21/32"},
    ]
    closed = policy(rendered(stack_settings(platform={"egress": []})), "pipeline-run")
    assert blocks(closed) == []
    assert all(rule["to"] and rule["ports"] for rule in closed["egress"])


def test_open_rule_ignores_addresses_that_are_host_names() -> None:
    (peer,) = _open_rule([ipaddress.IPv4Network("10.0.0.0/8")], ["node-1.example.com", "10.0.0.4", ""])["to"]
    assert peer == {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.0.0.4/32"]}}


def test_kubeflow_steps_reach_metadata_store_objects_and_cache_only(kubeflow: Graph) -> None:
    spec = policy(kubeflow, "pipeline-steps")
    components = {
        (peer["podSelector"]["matchLabels"]["app"], port["port"])
        for rule in spec["egress"]
        for peer in rule["to"]
        if "podSelector" in peer and "namespaceSelector" not in peer
        for port in rule["ports"]
    }
    assert components == {("metadata-grpc-deployment", 8080), ("seaweedfs", 8333), ("ml-pipeline", 8887)}
    steps = {"podSelector": {"matchLabels": {"pipelines.kubeflow.org/v2_component": "true"}}}
    admitted = {
        (name, port["port"])
        for name, each in kubeflow.of("NetworkPolicy").items()
        if each["metadata"]["namespace"] == "kubeflow"
        for rule in each["spec"].get("ingress") or []
        if steps in rule.get("from", [])
        for port in rule["ports"]
    }
    assert admitted == components


@pytest.mark.parametrize(("role", "expected"), [("control-plane", API), ("worker", {"0.0.0.0/0"})])
def test_kubeflow_steps_reach_the_api_server_at_its_addresses_only(role: str, expected: set[str]) -> None:
    node = {"name": "plane", "role": role, "address": "192.0.2.11", "external_address": "", "version": "v1.34.4"}
    graph, _ = run(lambda: rendered_kubeflow({}, nodes=pulumi.Output.from_input([node]), api_addresses=["10.0.0.1"]))
    for name in ("pipeline-steps", "workflow-controller", "ml-pipeline-persistenceagent"):
        (rule,) = (
            each for each in policy(graph, name)["egress"] if {"port": 6443, "protocol": "TCP"} in each.get("ports", [])
        )
        assert {peer["ipBlock"]["cidr"] for peer in rule["to"]} == expected


def test_kubeflow_components_admit_each_other_and_no_pod_of_a_run(kubeflow: Graph) -> None:
    selector = {"app.kubernetes.io/part-of": "kubeflow-pipelines"}
    for name in ("mysql", "metadata-envoy"):
        (rule,) = policy(kubeflow, name)["ingress"]
        assert rule["from"] == [{"podSelector": {"matchLabels": selector}}]
    pods = [
        each["spec"]["template"]["metadata"]["labels"]
        for each in kubeflow.of("Deployment").values()
        if each["metadata"]["namespace"] == "kubeflow"
    ]
    assert len(pods) == 9
    assert all(selector.items() <= labels.items() for labels in pods)


@pytest.mark.parametrize("program", ["weave", "weave upstream"])
def test_weave_has_no_access_to_processes_and_folders_of_the_node(program: str) -> None:
    pod = graph_of(program).of("DaemonSet")["weave-net"]["spec"]["template"]["spec"]
    assert pod["hostPID"] is False
    (install,) = pod["initContainers"]
    assert {"/host/opt", "/host/etc"} <= {mount["mountPath"] for mount in install["volumeMounts"]}
    router = next(each for each in pod["containers"] if each["name"] == "weave")
    writable = {mount["mountPath"] for mount in router["volumeMounts"] if not mount.get("readOnly")}
    assert writable == {"/weavedb", "/run/xtables.lock"}
    assert "/host/etc/machine-id" in {mount["mountPath"] for mount in router["volumeMounts"]}
    volumes = {volume["name"] for volume in pod["volumes"]}
    mounts = {mount["name"] for each in (install, *pod["containers"]) for mount in each["volumeMounts"]}
    assert mounts == volumes


@pytest.mark.parametrize("program", ["weave", "weave upstream"])
def test_weave_keeps_the_address_of_a_caller_from_outside(program: str) -> None:
    """Weave 2.6 replaces the address by default, and 2.9 does not."""
    pod = graph_of(program).of("DaemonSet")["weave-net"]["spec"]["template"]["spec"]
    router = next(each for each in pod["containers"] if each["name"] == "weave")
    assert {"name": "NO_MASQ_LOCAL", "value": "1"} in router["env"]


def test_weave_of_the_bundle_installs_the_plugin_with_its_own_program() -> None:
    pod = graph_of("weave").of("DaemonSet")["weave-net"]["spec"]["template"]["spec"]
    (install,) = pod["initContainers"]
    shell, option, script = install["command"]
    assert (shell, option) == ("/bin/sh", "-ec")
    assert "/home/weave/weave --local setup-cni" in script
    subprocess.run(["sh", "-n"], input=script, text=True, check=True)


def test_namespace_of_jobs_has_a_quota_and_default_limits(jobs: Graph) -> None:
    (quota,) = jobs.of("ResourceQuota").values()
    (limits,) = jobs.of("LimitRange").values()
    assert quota["metadata"]["namespace"] == limits["metadata"]["namespace"] == "mlplatform-pipelines"
    assert quota["spec"]["hard"] == {"pods": "100", "services": "0", "persistentvolumeclaims": "0"}
    assert limits["spec"]["limits"][0]["default"]["memory"] == "2Gi"


def test_namespace_of_kubeflow_limits_the_pods_of_runs(kubeflow: Graph) -> None:
    (quota,) = kubeflow.of("ResourceQuota").values()
    (limits,) = kubeflow.of("LimitRange").values()
    assert quota["metadata"]["namespace"] == limits["metadata"]["namespace"] == "kubeflow"
    assert quota["spec"]["hard"] == {"pods": "100"}


def test_every_namespace_has_a_pod_security_level(kubeflow: Graph, jobs: Graph) -> None:
    namespaces = {**kubeflow.of("Namespace"), **jobs.of("Namespace")}
    assert len(namespaces) == 8
    levels = {
        name: each["metadata"]["labels"].get("pod-security.kubernetes.io/enforce") for name, each in namespaces.items()
    }
    assert None not in levels.values()


@pytest.mark.parametrize("retain", [True, False])
def test_volumes_and_their_namespaces_are_retained_by_the_setting(
    retain: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: set[tuple[str, str]] = set()
    frozen: set[str] = set()
    original = pulumi.Resource.__init__

    def recorded(self: Any, kind: str, name: str, *args: Any, **options: Any) -> None:
        opts = options.get("opts") or (args[2] if len(args) > 2 else None)
        if opts and opts.retain_on_delete:
            kept.add((kind.rpartition(":")[2], name))
        if opts and "spec.storageClassName" in (opts.ignore_changes or []):
            frozen.add(name)
        original(self, kind, name, *args, **options)

    monkeypatch.setattr(pulumi.Resource, "__init__", recorded)
    rendered(stack_settings(**(ALL | {"platform": ALL["platform"] | {"retain_volumes": retain}})))
    claims = {"mlflow", "prometheus", "mysql", "seaweedfs"}
    namespaces = {"mlplatform-tracking", "mlplatform-monitoring", "kubeflow"}
    expected = {("PersistentVolumeClaim", name) for name in claims} | {("Namespace", name) for name in namespaces}
    assert kept == (expected if retain else set())
    assert frozen == claims


def test_claim_that_exists_keeps_its_class(kubeflow: Graph) -> None:
    classes = {name: claim["spec"]["storageClassName"] for name, claim in kubeflow.of("PersistentVolumeClaim").items()}
    assert classes["mysql"] == "premium"
    assert set(classes.values()) == {"premium", "openebs-hostpath"}


@pytest.fixture(scope="module")
def kubeadm(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the documents that init.sh and reconcile.sh write, by kind."""
    machine = Sandbox(tmp_path_factory.mktemp("machine"))
    (machine.root / "var/log").mkdir()
    for name in ("kubectl", "sleep"):
        machine.program(name)
    machine.program("systemd-detect-virt")
    values = dict.fromkeys(("NODE", "CLUSTER", "NAMES", "VERSION"), "x") | {"ADDRESS": "192.0.2.11", "TAINTED": "true"}
    values |= {"POD_SUBNET": "10.32.0.0/16", "SERVICE_SUBNET": "10.96.0.0/16", "ROLE": "control-plane"}
    machine.program("kubeadm", f'[ "$2" != phase ] || {{ cat "${{@: -1}}" >{machine.root}/uploaded; exit 1; }}')
    machine.run("reconcile.sh", **values)
    documents = [*yaml.safe_load_all((machine.root / "uploaded").read_text())]
    documents += [yaml.safe_load(file.read_text()) for file in machine.root.glob("etc/kubernetes/policies-*/*.yaml")]
    return {each["kind"]: each for each in documents}


def api_server_flag(kubeadm: dict[str, Any], name: str) -> str:
    flags = kubeadm["ClusterConfiguration"]["apiServer"]["extraArgs"]
    (value,) = (each["value"] for each in flags if each["name"] == name)
    return str(value)


def test_control_plane_serves_no_profiles(kubeadm: dict[str, Any]) -> None:
    for component in ("apiServer", "controllerManager", "scheduler"):
        assert {"name": "profiling", "value": "false"} in kubeadm["ClusterConfiguration"][component]["extraArgs"]


def test_kubelet_refuses_anonymous_requests(kubeadm: dict[str, Any]) -> None:
    kubelet = kubeadm["KubeletConfiguration"]
    assert kubelet["readOnlyPort"] == 0
    assert kubelet["authentication"] == {"anonymous": {"enabled": False}, "webhook": {"enabled": True}}
    assert kubelet["authorization"] == {"mode": "Webhook"}


def test_audit_log_has_reads_of_secrets_and_connections_to_pods(kubeadm: dict[str, Any]) -> None:
    first, *_ = kubeadm["Policy"]["rules"]
    assert first["level"] == "Metadata"
    assert "verbs" not in first  # exec, attach and port-forward begin with GET
    (resources,) = (each["resources"] for each in first["resources"] if each["group"] == "")
    assert {"secrets", "pods/exec", "pods/attach", "pods/portforward"} <= set(resources)


def test_namespaces_without_labels_have_the_level_baseline(kubeadm: dict[str, Any]) -> None:
    (plugin,) = kubeadm["AdmissionConfiguration"]["plugins"]
    assert plugin["name"] == "PodSecurity"
    assert plugin["configuration"]["defaults"]["enforce"] == "baseline"
    assert plugin["configuration"]["exemptions"] == {"namespaces": ["kube-system"]}
    server = kubeadm["ClusterConfiguration"]["apiServer"]
    file = api_server_flag(kubeadm, "admission-control-config-file")
    assert str(PurePath(file).parent) in {each["mountPath"] for each in server["extraVolumes"] if each.get("readOnly")}


def test_kubelets_serve_certificates_that_the_api_server_verifies(kubeadm: dict[str, Any]) -> None:
    kubelet = kubeadm["KubeletConfiguration"]
    assert (kubelet["serverTLSBootstrap"], kubelet["rotateCertificates"]) == (True, True)
    assert api_server_flag(kubeadm, "kubelet-certificate-authority").endswith("/etc/kubernetes/pki/ca.crt")


def test_api_server_limits_nodes_to_their_own_objects_and_refuses_external_addresses(kubeadm: dict[str, Any]) -> None:
    """The flag replaces kubeadm's own value, which is NodeRestriction."""
    plugins = api_server_flag(kubeadm, "enable-admission-plugins")
    assert set(plugins.split(",")) == {"NodeRestriction", "DenyServiceExternalIPs"}


def test_api_server_encrypts_secrets_with_the_keys_of_its_machine(kubeadm: dict[str, Any]) -> None:
    file = api_server_flag(kubeadm, "encryption-provider-config")
    volumes = {each["mountPath"]: each for each in kubeadm["ClusterConfiguration"]["apiServer"]["extraVolumes"]}
    assert (volumes[file]["hostPath"], volumes[file]["readOnly"]) == (file, True)


def test_api_server_and_kubelet_accept_ciphers_with_forward_secrecy_only(kubeadm: dict[str, Any]) -> None:
    ciphers = api_server_flag(kubeadm, "tls-cipher-suites").split(",")
    assert len(ciphers) == 6
    assert all(each.startswith("TLS_ECDHE_") and "_CBC_" not in each for each in ciphers)
    assert kubeadm["KubeletConfiguration"]["tlsCipherSuites"] == ciphers


def test_pods_have_the_default_seccomp_profile_and_a_limit_of_processes(kubeadm: dict[str, Any]) -> None:
    kubelet = kubeadm["KubeletConfiguration"]
    assert (kubelet["seccompDefault"], kubelet["podPidsLimit"]) == (True, 4096)
