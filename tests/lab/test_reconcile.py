"""The configuration of a cluster that an older program created, and the certificates of kubelets."""

from __future__ import annotations

import re

from tests.harness import Stack

from .cluster import Cluster, until
from .test_hardship import on

MANIFEST = "/etc/kubernetes/manifests/kube-apiserver.yaml"
KUBELET = "/var/lib/kubelet/config.yaml"
NODES = ("control-plane", "worker-1", "worker-2")


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


def test_up_applies_the_configuration_to_an_older_cluster(lab: Stack, cluster: Cluster) -> None:
    pods = _uids(cluster)
    # Flags and settings of the kubelet as an older program would have left them.
    on(lab, "control-plane", f"sudo sed -i '/--profiling=false/d; /--kubelet-certificate-authority/d' {MANIFEST}")
    on(lab, "worker-1", f"sudo sed -i '/^serverTLSBootstrap/d; /^podPidsLimit/d' {KUBELET}")
    on(lab, "worker-1", "sudo systemctl restart kubelet")
    until(lambda: "--profiling=false" not in _arguments(cluster), what="the API server without the flag")
    output = lab.up("--replace", "**control-plane-reconcile", "--replace", "**worker-1-reconcile")
    replaced = set(re.findall(r"command:remote:Command (\S+) replaced", output))
    assert replaced == {"control-plane-reconcile", "worker-1-reconcile"}
    assert {"--profiling=false", "--kubelet-certificate-authority=/etc/kubernetes/pki/ca.crt"} <= _arguments(cluster)
    assert "serverTLSBootstrap: true" in on(lab, "worker-1", f"sudo cat {KUBELET}")
    assert cluster.kubectl("get", "--raw", "/api/v1/nodes/worker-1/proxy/healthz") == "ok"
    assert _uids(cluster) == pods  # no node was drained


def _arguments(cluster: Cluster) -> set[str]:
    """Return the arguments of the API server, or those that show that it does not respond."""
    server = ("pod", "kube-apiserver-control-plane", "-n", "kube-system")
    printed = cluster.kubectl("get", *server, "-o", "jsonpath={.spec.containers[0].command[*]}", check=False)
    return set(printed.split()) if printed.startswith("kube-apiserver ") else {"--profiling=false"}


def _uids(cluster: Cluster) -> set[str]:
    """Return the pods that a controller would replace if their node were drained."""
    return set(cluster.kubectl("get", "pods", "-A", "-l", "pod-template-hash", "-o", "name").split())
