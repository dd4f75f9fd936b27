"""The configuration and the container runtime of a cluster of an older program, and the certificates of kubelets."""

from __future__ import annotations

import json
import re
from pathlib import Path

from airgap.bundle import index
from airgap.bundle.registry import bundle_registry
from airgap.bundle.registry.push import push
from airgap.bundle.store import Store
from settings.paths import VERSIONS
from tests.harness import Stack, changes

from .cluster import Cluster, pod, until
from .test_hardship import on

MANIFEST = "/etc/kubernetes/manifests/kube-apiserver.yaml"
KUBELET = "/var/lib/kubelet/config.yaml"
NODES = ("control-plane", "worker-1", "worker-2")
RUNTIME = VERSIONS["container_runtime"]
IMAGE = "mlplatform.internal/container-runtime"


def test_every_kubelet_serves_a_certificate_of_the_cluster(lab: Stack, cluster: Cluster) -> None:
    for node in NODES:
        assert cluster.kubectl("get", "--raw", f"/api/v1/nodes/{node}/proxy/healthz") == "ok"
        verify = "openssl verify -CAfile /etc/kubernetes/pki/ca.crt /var/lib/kubelet/pki/kubelet-server-current.pem"
        assert on(lab, node, f"sudo {verify}").endswith(": OK\n")
    server = cluster.get("deployment", "metrics-server", "-n", "kube-system")["spec"]["template"]["spec"]
    assert "--kubelet-insecure-tls" not in server["containers"][0]["args"]


def test_timer_approves_the_next_certificate_without_an_up(lab: Stack, cluster: Cluster) -> None:
    current = "/var/lib/kubelet/pki/kubelet-server-current.pem"
    before = on(lab, "worker-2", f"sudo readlink {current}")
    on(lab, "worker-2", f"sudo rm {current} && sudo systemctl restart kubelet")
    until(
        lambda: on(lab, "worker-2", f"sudo readlink {current} || true") not in ("", before),
        seconds=180,
        what="the next certificate",
    )
    until(
        lambda: cluster.kubectl("get", "--raw", "/api/v1/nodes/worker-2/proxy/healthz", check=False) == "ok",
        what="its use",
    )


def test_up_of_a_changed_program_configures_an_older_cluster_node_by_node(lab: Stack, cluster: Cluster) -> None:
    pods = _uids(cluster)
    # Flags and settings that an older program did not set.
    on(lab, "control-plane", f"sudo sed -i '/--profiling=false/d; /--kubelet-certificate-authority/d' {MANIFEST}")
    on(lab, "worker-1", f"sudo sed -i '/^serverTLSBootstrap/d' {KUBELET}")
    on(lab, "worker-1", "sudo systemctl restart kubelet")
    until(lambda: "--profiling=false" not in _arguments(cluster), what="the API server without the flag")
    # Another flag, another audit policy and another setting of the kubelet than the program had at the last `up`.
    _edit(lab, {'value: "30"': 'value: "29"', "omitStages:": "# Changed.\nomitStages:", "Limit: 4096": "Limit: 4000"})
    output = lab.up()
    order = dict.fromkeys(re.findall(r"command:local:Command (\S+)-reconcile (updat\w+)", output))
    assert list(order) == [(node, state) for node in NODES for state in ("updating", "updated")], output
    flags = {"--profiling=false", "--kubelet-certificate-authority=/etc/kubernetes/pki/ca.crt", "--audit-log-maxage=29"}
    assert flags <= _arguments(cluster)
    policy = on(lab, "control-plane", "sudo sh -c 'cat /etc/kubernetes/policies-*/audit-policy.yaml'")
    assert policy.count("# Changed.") == 1
    for node in NODES:
        settings = on(lab, node, f"sudo cat {KUBELET}")
        assert "serverTLSBootstrap: true" in settings
        assert "podPidsLimit: 4000" in settings
        assert cluster.kubectl("get", "--raw", f"/api/v1/nodes/{node}/proxy/healthz") == "ok"
    assert _uids(cluster) == pods  # no node was drained
    assert set(changes(lab.up())) == {"unchanged"}


def test_every_node_runs_containerd_and_runc_of_the_bundle(lab: Stack, cluster: Cluster) -> None:
    for node in cluster.get("nodes")["items"]:
        version = node["status"]["nodeInfo"]["containerRuntimeVersion"]
        assert version == f"containerd://{RUNTIME['containerd'].removeprefix('v')}"
    for name in NODES:
        assert f"runc version {RUNTIME['runc'].removeprefix('v')}\n" in on(lab, name, "sudo runc --version")


def test_up_with_other_versions_replaces_them_on_one_drained_node_after_the_other(
    lab: Stack, cluster: Cluster, tmp_path: Path
) -> None:
    old = f"{RUNTIME['containerd']}-runc-{RUNTIME['runc']}"
    new = f"{RUNTIME['containerd']}-runc-v0.0.0"
    _push_as(f"{IMAGE}:{old}", f"{IMAGE}:{new}", tmp_path)
    space = cluster.namespace("runtime")
    cluster.apply(pod("evicted", space, node="worker-1"))
    cluster.wait("--for=condition=Ready", "pod/evicted", "-n", space)
    started = {name: _start(lab, name) for name in NODES}
    versions = lab.project / "settings" / "versions.toml"
    text = versions.read_text()
    assert text.count(f'runc = "{RUNTIME["runc"]}"') == 1
    versions.write_text(text.replace(f'runc = "{RUNTIME["runc"]}"', 'runc = "v0.0.0"'))

    output = lab.up()

    finished = re.findall(r"command:local:Command (\S+)-(?:upgrade|ready) updated .*", output)
    assert list(dict.fromkeys(finished)) == list(NODES), output
    for name in NODES:
        assert on(lab, name, "cat /var/lib/mlplatform/container-runtime") == f"{new}\n"
        assert _start(lab, name) != started[name]
    assert not cluster.kubectl("get", "pod", "evicted", "-n", space, "--ignore-not-found")
    assert cluster.nodes_ready() == dict.fromkeys(NODES, True)
    assert not [node for node in cluster.get("nodes")["items"] if node["spec"].get("unschedulable")]
    assert set(changes(lab.up())) == {"unchanged"}


def _edit(lab: Stack, replacements: dict[str, str]) -> None:
    """Change the program that these stacks run. It stays changed, so that later tests need no other configuration."""
    program = lab.project / "infra" / "kubeadm" / "scripts" / "configuration.sh"
    text = program.read_text()
    for old, new in replacements.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    program.write_text(text)


def _arguments(cluster: Cluster) -> set[str]:
    """Return the arguments of the API server, or those that show that it does not respond."""
    server = ("pod", "kube-apiserver-control-plane", "-n", "kube-system")
    printed = cluster.kubectl("get", *server, "-o", "jsonpath={.spec.containers[0].command[*]}", check=False)
    return set(printed.split()) if printed.startswith("kube-apiserver ") else {"--profiling=false"}


def _uids(cluster: Cluster) -> set[str]:
    """Return the pods that a controller would replace if their node were drained."""
    return set(cluster.kubectl("get", "pods", "-A", "-l", "pod-template-hash", "-o", "name").split())


def _push_as(name: str, other: str, folder: Path) -> None:
    """Push an image of the bundle under another name."""
    store = Store.default()
    image = index.read_index(store)["images"][name]
    renamed = image | {"layout": str(store.root / image["layout"])}
    (folder / index.INDEX).write_text(json.dumps({"images": {other: renamed}}))
    with bundle_registry.writable(store) as target:
        push(Store(folder), target.host, target.authfile, target.certificates)


def _start(lab: Stack, name: str) -> str:
    """Return the time at which containerd started on the machine."""
    return on(lab, name, "systemctl show --property ExecMainStartTimestampMonotonic --value containerd")
