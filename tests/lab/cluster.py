"""A cluster for tests, used through kubectl."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.waiting import until

TOOLS = "quay.io/openebs/linux-utils:1.12.1"
"""An image with a shell, curl and perl, which every lab's registry has."""
SERVER = (
    "use IO::Socket::INET; my $s = IO::Socket::INET->new(LocalPort => 8080, Listen => 16, ReuseAddr => 1) or die; "
    "while (my $c = $s->accept) { while (<$c>) { last if /^\\r?\\n$/ } "
    'my $b = `hostname`; print $c "HTTP/1.0 200 OK\\r\\nContent-Length: ".length($b)."\\r\\n\\r\\n$b"; close $c }'
)
"""An HTTP server that responds with its host name."""


@dataclass
class Cluster:
    """A cluster with its kubeconfig in a file."""

    kubeconfig: Path
    kubectl_program: str

    def kubectl(self, *arguments: str, stdin: str | None = None, check: bool = True, seconds: float = 180) -> str:
        result = subprocess.run(
            [self.kubectl_program, "--kubeconfig", str(self.kubeconfig), *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
        )
        assert not check or result.returncode == 0, f"kubectl {' '.join(arguments)}: {result.stderr}{result.stdout}"
        return result.stdout if check else result.stdout + result.stderr

    def apply(self, *objects: dict[str, Any]) -> None:
        self.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(objects))

    def get(self, *what: str) -> Any:
        return json.loads(self.kubectl("get", *what, "-o", "json"))

    def wait(self, *what: str, seconds: int = 120) -> None:
        self.kubectl("wait", *what, f"--timeout={seconds}s", seconds=seconds + 30)

    def execute(self, pod: str, namespace: str, *command: str, check: bool = True) -> str:
        return self.kubectl("exec", "-n", namespace, pod, "--", *command, check=check)

    def namespace(self, name: str) -> str:
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        # Pods are refused until the namespace has its default service account.
        account = ("serviceaccount", "default", "-n", name, "-o", "name", "--ignore-not-found")
        until(lambda: self.kubectl("get", *account), what="the creation of its default service account")
        return name

    def nodes_ready(self) -> dict[str, bool]:
        return {
            node["metadata"]["name"]: any(
                condition["type"] == "Ready" and condition["status"] == "True"
                for condition in node["status"]["conditions"]
            )
            for node in self.get("nodes")["items"]
        }


def cluster_at(kubeconfig: str, folder: Path) -> Cluster:
    """Return the cluster of a kubeconfig, and write the kubeconfig to a private file in that folder."""
    from tools.cli.cluster_access import kubectl_program

    file = folder / "kubeconfig"
    file.touch(mode=0o600)
    file.write_text(kubeconfig)
    return Cluster(file, kubectl_program())


def pod(
    name: str, namespace: str, *, node: str | None = None, command: list[str] | None = None, **spec: Any
) -> dict[str, Any]:
    """Return a pod with tools on a chosen node; without a command it sleeps."""
    container: dict[str, Any] = {
        "name": "main",
        "image": TOOLS,
        "command": command or ["sleep", "infinity"],
        "volumeMounts": spec.pop("mounts", []),
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            **({"nodeSelector": {"kubernetes.io/hostname": node}} if node else {}),
            "containers": [container],
            **spec,
        },
    }


def server(name: str, namespace: str, node: str) -> dict[str, Any]:
    """Return a pod that responds on HTTP port 8080 with its name."""
    return pod(name, namespace, node=node, command=["perl", "-e", SERVER])


def service(name: str, namespace: str, kind: str) -> dict[str, Any]:
    """Return a Service of that type on port 80 for the pod of the same name."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"type": kind, "selector": {"app": name}, "ports": [{"port": 80, "targetPort": 8080}]},
    }
