"""Features of the cluster that workloads use."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import urllib.request

import pytest

from tests.harness import Stack, changes

from .cluster import TOOLS, Cluster, pod, server, service, until

WORKERS = ("worker-1", "worker-2")


def test_lab_has_three_ready_nodes_and_matching_outputs(lab: Stack, cluster: Cluster) -> None:
    assert cluster.nodes_ready() == {"control-plane": True, "worker-1": True, "worker-2": True}
    outputs = lab.outputs()
    listed = {
        node["metadata"]["name"]: node["status"]["nodeInfo"]["kubeletVersion"] for node in cluster.get("nodes")["items"]
    }
    assert {node["name"]: node["version"] for node in outputs["nodes"]} == listed
    assert [node["role"] for node in outputs["nodes"]] == ["control-plane", "worker", "worker"]
    assert outputs["storage_class"] == "openebs-hostpath"
    assert outputs["network"] == {"name": "weave", "encrypted": True, "network_policies": True}
    assert outputs["api_endpoint"] in cluster.kubeconfig.read_text()
    assert outputs["kubeconfig"] == "[secret]"
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT.*", outputs["certificates_expire"])


def test_coredns_runs_on_two_nodes(cluster: Cluster) -> None:
    pods = cluster.get("pods", "-n", "kube-system", "-l", "k8s-app=kube-dns")["items"]
    assert len({pod["spec"]["nodeName"] for pod in pods}) == len(pods) == 2


def test_up_again_changes_nothing(lab: Stack) -> None:
    assert set(changes(lab.up())) == {"unchanged"}


def test_volume_of_a_deleted_pod_keeps_its_data(cluster: Cluster) -> None:
    space = cluster.namespace("volumes")
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data", "namespace": space},
        # Without a class, the default class applies.
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Mi"}}},
    }
    mounted = {
        "mounts": [{"name": "data", "mountPath": "/data"}],
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
    }
    cluster.apply(claim, pod("writer", space, **mounted))
    cluster.wait("--for=condition=Ready", "pod/writer", "-n", space)
    cluster.execute("writer", space, "sh", "-c", "echo kept > /data/file")
    cluster.kubectl("delete", "pod", "writer", "-n", space)
    mounted["mounts"] = [{"name": "data", "mountPath": "/data"}]
    cluster.apply(pod("reader", space, **mounted))
    cluster.wait("--for=condition=Ready", "pod/reader", "-n", space)
    assert cluster.execute("reader", space, "cat", "/data/file") == "kept\n"
    assert cluster.get("pvc", "data", "-n", space)["spec"]["storageClassName"] == "openebs-hostpath"
    volume = cluster.get("pvc", "data", "-n", space)["spec"]["volumeName"]
    cluster.kubectl("delete", "namespace", space)
    until(lambda: volume not in cluster.kubectl("get", "pv", "-o", "name"), what="removing the volume")


def test_service_is_reachable_by_name_and_address_from_nodes_and_outside(cluster: Cluster) -> None:
    space = cluster.namespace("services")
    cluster.apply(
        server("here", space, WORKERS[0]),
        service("here", space, "LoadBalancer"),
        *(pod(f"from-{node}", space, node=node) for node in WORKERS),
    )
    for name in ("here", *(f"from-{node}" for node in WORKERS)):
        cluster.wait("--for=condition=Ready", f"pod/{name}", "-n", space)
    here = cluster.get("service", "here", "-n", space)
    hosts = [f"here.{space}.svc.cluster.local", here["spec"]["clusterIP"]]
    for node in WORKERS:
        for host in hosts:
            until(
                lambda node=node, host=host: (  # type: ignore[misc]
                    cluster.execute(f"from-{node}", space, "curl", "-s", "-m", "5", f"http://{host}/", check=False)
                    == "here\n"
                ),
                seconds=30,
                what=f"an answer from {host} on {node}",
            )
    port = here["spec"]["ports"][0]["nodePort"]
    addresses = {
        node["metadata"]["name"]: node["status"]["addresses"][0]["address"] for node in cluster.get("nodes")["items"]
    }
    for address in addresses.values():
        assert _get(f"http://{address}:{port}/") == "here\n"

    def external() -> str | None:
        ingress = cluster.get("service", "here", "-n", space)["status"]["loadBalancer"].get("ingress")
        return str(ingress[0]["ip"]) if ingress else None

    address = until(external, what="giving the Service an address")
    assert re.fullmatch(r"10\.\d+\.77\.2\d\d", address)
    assert _get(f"http://{address}/") == "here\n"
    cluster.kubectl("delete", "namespace", space)


def test_connection_tracking_of_unanswered_connections_expires_after_a_second(lab: Stack) -> None:
    """tests/cluster/test_load.py measures the effect."""
    setting = ["sysctl", "-n", "net.netfilter.nf_conntrack_tcp_timeout_syn_sent"]
    for node in lab.outputs()["nodes"]:
        command = ["runc", "exec", f"{lab.name}.{node['name']}", *setting]
        assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == "1\n"


def test_private_image_needs_the_pull_secret(
    lab: Stack, cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> None:
    space = cluster.namespace("private")
    outputs = lab.outputs("--show-secrets")
    host = outputs["registry_url"].removeprefix("https://")
    # containerd sends no mirror password for images named after the registry itself.
    image = f"{host}/{TOOLS}"
    refused = pod("refused", space)
    refused["spec"]["containers"][0]["image"] = image
    cluster.apply(refused)

    def reason() -> str:
        statuses = cluster.get("pod", "refused", "-n", space)["status"].get("containerStatuses", [{}])
        return str(statuses[0].get("state", {}).get("waiting", {}).get("message", ""))

    assert "no basic auth credentials" in until(lambda: reason() if "pull" in reason() else None, what="the refusal")
    code, state = lab.pulumi("stack", "export", "--show-secrets")
    assert code == 0
    (registry,) = [
        resource["outputs"]
        for resource in json.loads(state[state.index("{") :])["deployment"]["resources"]
        if resource["type"].endswith("BundleRegistry")
    ]
    password = json.loads(registry["password"]["plaintext"])
    login = base64.b64encode(f"{registry['username']}:{password}".encode()).decode()
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "registry", "namespace": space},
        "type": "kubernetes.io/dockerconfigjson",
        "stringData": {".dockerconfigjson": json.dumps({"auths": {host: {"auth": login}}})},
    }
    allowed = pod("allowed", space, imagePullSecrets=[{"name": "registry"}])
    allowed["spec"]["containers"][0]["image"] = image
    cluster.apply(secret, allowed)
    cluster.wait("--for=condition=Ready", "pod/allowed", "-n", space)
    cluster.kubectl("delete", "namespace", space)


def test_network_policy_denies_other_pods(cluster: Cluster) -> None:
    space = cluster.namespace("policies")
    cluster.apply(
        server("guarded", space, WORKERS[0]),
        service("guarded", space, "ClusterIP"),
        pod("friend", space, node=WORKERS[1]),
        pod("stranger", space, node=WORKERS[1]),
    )
    for name in ("guarded", "friend", "stranger"):
        cluster.wait("--for=condition=Ready", f"pod/{name}", "-n", space)

    def reaches(pod_name: str) -> bool:
        url = f"http://guarded.{space}.svc.cluster.local/"
        return cluster.execute(pod_name, space, "curl", "-s", "-m", "3", url, check=False) == "guarded\n"

    until(lambda: reaches("friend") and reaches("stranger"), what="reaching it without a policy")
    cluster.apply(
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": "friends", "namespace": space},
            "spec": {
                "podSelector": {"matchLabels": {"app": "guarded"}},
                "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "friend"}}}]}],
            },
        }
    )
    until(lambda: not reaches("stranger"), what="denial of the stranger")
    assert reaches("friend")
    cluster.kubectl("delete", "namespace", space)


def test_metrics_exist_for_every_node(cluster: Cluster) -> None:
    def measured() -> set[str]:
        return {line.split()[0] for line in cluster.kubectl("top", "nodes", "--no-headers", check=False).splitlines()}

    until(lambda: measured() == set(cluster.nodes_ready()), what="metrics of every node")


def test_secrets_are_encrypted_at_rest_and_no_bootstrap_token_remains(lab: Stack, cluster: Cluster) -> None:
    cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "at-rest", "namespace": "default"},
            "stringData": {"word": "correct-horse-battery-staple"},
        }
    )
    stored = cluster.kubectl(
        *(
            "exec",
            "-n",
            "kube-system",
            "etcd-control-plane",
            "--",
            "etcdctl",
            "--cert=/etc/kubernetes/pki/etcd/peer.crt",
        ),
        *("--key=/etc/kubernetes/pki/etcd/peer.key", "--cacert=/etc/kubernetes/pki/etcd/ca.crt"),
        *("get", "/registry/secrets/default/at-rest", "--print-value-only"),
    )
    assert "k8s:enc:secretbox" in stored
    assert "correct-horse" not in stored
    tokens = cluster.get("secrets", "-n", "kube-system", "--field-selector=type=bootstrap.kubernetes.io/token")
    assert tokens["items"] == []


def _get(url: str) -> str:
    def answer() -> str | None:
        try:
            with urllib.request.urlopen(url, timeout=5) as response:
                return str(response.read().decode())
        except OSError:
            return None

    return str(until(answer, seconds=30, what=f"an answer from {url}"))
