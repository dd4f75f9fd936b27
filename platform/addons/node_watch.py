"""Program on the control planes that takes the pods of a dead node out of their Services in about two seconds."""

from __future__ import annotations

from pathlib import Path

import mlplatform.failover as program
import pulumi
import pulumi_kubernetes as kubernetes
from mlplatform.k8s.deployment import settings_digest
from mlplatform.k8s.pod import Container, Pod, PodField, Resources
from mlplatform.k8s.rbac import service_account
from mlplatform.k8s.volumes import ConfigMapFiles, Mount
from mlplatform.k8s.waiting import SKIP_AWAIT

from infra.cluster import Cluster

NAME = "node-watch"
NAMESPACE = "kube-system"
IMAGE = "docker.io/library/python:3.11-slim-bookworm"
PROGRAMS = "/etc/mlplatform"
CONTROL_PLANE = "node-role.kubernetes.io/control-plane"
RULES = [
    {"apiGroups": [""], "resources": ["nodes", "pods"], "verbs": ["list"]},
    {"apiGroups": [""], "resources": ["pods/status"], "verbs": ["patch"]},
]


class NodeWatch(pulumi.ComponentResource):
    """A pod on each control plane of kubeadm that probes all other nodes, see `mlplatform.failover.watch`."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__("mlplatform:addons:NodeWatch", NAME)
        inside = cluster.under(self)
        metadata = {"name": NAME, "namespace": NAMESPACE}
        labels = {"app.kubernetes.io/name": NAME}
        sources = {file.name: file.read_text() for file in sorted(Path(next(iter(program.__path__))).glob("*.py"))}
        files = kubernetes.core.v1.ConfigMap(NAME, metadata=metadata, data=sources, opts=inside.options())
        account = service_account(NAME, NAMESPACE, inside, cluster_rules=RULES)
        watch = Container(
            NAME,
            IMAGE,
            Resources(cpu=("20m", "500m"), memory=("24Mi", "96Mi")),
            command=["python3", "-m", "mlplatform.failover.watch"],
            environment={
                "PYTHONPATH": PROGRAMS,
                "PYTHONDONTWRITEBYTECODE": "1",
                "API_SERVER": PodField("status.hostIP"),
                "NODE_NAME": PodField("spec.nodeName"),
            },
            mounts=[Mount("programs", f"{PROGRAMS}/mlplatform/failover", read_only=True)],
        )
        pod = Pod(
            [watch],
            volumes={"programs": ConfigMapFiles(NAME)},
            account=NAME,
            grace_seconds=1,
            tolerations=[{"operator": "Exists"}],
        )
        kubernetes.apps.v1.DaemonSet(
            NAME,
            metadata=metadata | {"annotations": SKIP_AWAIT},
            spec={
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels, "annotations": {"settings": settings_digest([files])}},
                    "spec": pod.manifest()
                    | {
                        "nodeSelector": {CONTROL_PLANE: ""},
                        "priorityClassName": "system-node-critical",
                        # The API server of the same machine does not depend on the Services that this program changes.
                        "hostNetwork": True,
                        # containerd has the registry's login.
                        "imagePullSecrets": [],
                    },
                },
            },
            opts=inside.options(files, *account),
        )
        self.register_outputs({})
