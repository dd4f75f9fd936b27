"""The configuration of a cluster that an older program created, and the certificates of kubelets."""

from __future__ import annotations

import re

from tests.harness import Stack, changes

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
