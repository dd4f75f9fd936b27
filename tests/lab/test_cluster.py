"""What a workload may expect of the cluster."""

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


def test_three_nodes_are_ready_and_the_outputs_say_so(lab: Stack, cluster: Cluster) -> None:
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


def test_names_are_answered_on_more_than_one_machine(cluster: Cluster) -> None:
    pods = cluster.get("pods", "-n", "kube-system", "-l", "k8s-app=kube-dns")["items"]
    assert len({pod["spec"]["nodeName"] for pod in pods}) == len(pods) == 2


def test_a_second_up_changes_nothing(lab: Stack) -> None:
    assert set(changes(lab.up())) == {"unchanged"}


def test_a_volume_outlives_its_pod(cluster: Cluster) -> None:
    space = cluster.namespace("volumes")
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data", "namespace": space},
        # No class is named: the default one serves it.
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


def test_a_service_is_reached_by_name_and_address_from_every_node_and_from_outside(cluster: Cluster) -> None:
    space = cluster.namespace("services")
    cluster.apply(
        server("here", space, WORKERS[0]),
        service("here", space, "LoadBalancer"),
        *(pod(f"from-{node}", space, node=node) for node in WORKERS),
    )
    for name in ("here", *(f"from-{node}" for node in WORKERS)):
        cluster.wait("--for=condition=Ready", f"pod/{name}", "-n", space)
    found = cluster.get("service", "here", "-n", space)
    inside = [f"here.{space}.svc.cluster.local", found["spec"]["clusterIP"]]
    for node in WORKERS:
        for host in inside:
            until(
                lambda node=node, host=host: (  # type: ignore[misc]
                    cluster.execute(f"from-{node}", space, "curl", "-s", "-m", "5", f"http://{host}/", check=False)
                    == "here\n"
                ),
                seconds=30,
                what=f"an answer from {host} on {node}",
            )
    port = found["spec"]["ports"][0]["nodePort"]
    addresses = {
        node["metadata"]["name"]: node["status"]["addresses"][0]["address"] for node in cluster.get("nodes")["items"]
    }
    for address in addresses.values():
        assert _get(f"http://{address}:{port}/") == "here\n"

    def external() -> str | None:
        ingress = cluster.get("service", "here", "-n", space)["status"]["loadBalancer"].get("ingress")
        return str(ingress[0]["ip"]) if ingress else None

    given = until(external, what="giving the Service an address")
    assert re.fullmatch(r"10\.\d+\.77\.2\d\d", given)
    assert _get(f"http://{given}/") == "here\n"
    cluster.kubectl("delete", "namespace", space)


def test_no_machine_remembers_for_long_which_pod_did_not_answer(lab: Stack) -> None:
    """What that is worth, tests/cluster/test_load.py says."""
    setting = ["sysctl", "-n", "net.netfilter.nf_conntrack_tcp_timeout_syn_sent"]
    for node in lab.outputs()["nodes"]:
        asked = ["runc", "exec", f"{lab.name}.{node['name']}", *setting]
        assert subprocess.run(asked, check=True, capture_output=True, text=True).stdout == "2\n"


def test_a_private_image_takes_the_pull_secret(
    lab: Stack, cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> None:
    space = cluster.namespace("private")
    outputs = lab.outputs("--show-secrets")
    host = outputs["registry_url"].removeprefix("https://")
    # The name of the registry itself: no mirror lends it a password.
    image = f"{host}/{TOOLS}"
    refused = pod("refused", space)
    refused["spec"]["containers"][0]["image"] = image
    cluster.apply(refused)

    def reason() -> str:
        statuses = cluster.get("pod", "refused", "-n", space)["status"].get("containerStatuses", [{}])
        return str(statuses[0].get("state", {}).get("waiting", {}).get("message", ""))

    assert "401" in until(lambda: reason() if "pull" in reason() else None, what="the refusal")
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


def test_a_network_policy_denies_what_it_does_not_allow(cluster: Cluster) -> None:
    space = cluster.namespace("policies")
    cluster.apply(
        server("guarded", space, WORKERS[0]),
        service("guarded", space, "ClusterIP"),
        pod("friend", space, node=WORKERS[1]),
        pod("stranger", space, node=WORKERS[1]),
    )
    for name in ("guarded", "friend", "stranger"):
        cluster.wait("--for=condition=Ready", f"pod/{name}", "-n", space)

    def reaches(who: str) -> bool:
        url = f"http://guarded.{space}.svc.cluster.local/"
        return cluster.execute(who, space, "curl", "-s", "-m", "3", url, check=False) == "guarded\n"

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
    until(lambda: not reaches("stranger"), what="keeping the stranger out")
    assert reaches("friend")
    cluster.kubectl("delete", "namespace", space)


def test_metrics_are_there_for_autoscalers(cluster: Cluster) -> None:
    def known() -> set[str]:
        return {line.split()[0] for line in cluster.kubectl("top", "nodes", "--no-headers", check=False).splitlines()}

    until(lambda: known() == set(cluster.nodes_ready()), what="metrics of every node")


def test_secrets_are_encrypted_at_rest_and_no_token_is_left(lab: Stack, cluster: Cluster) -> None:
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
