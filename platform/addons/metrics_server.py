"""metrics-server, the source of `kubectl top` and of HorizontalPodAutoscalers."""

from __future__ import annotations

import pulumi
from mlplatform.addons import vendored_manifests
from mlplatform.addons.vendored_manifests import read_manifests

from infra.cluster import MANAGED, METRICS_API, Cluster
from settings.paths import VERSIONS

NAME = "metrics-server"
VERIFY = "--kubelet-certificate-authority=/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"


class MetricsServer(pulumi.ComponentResource):
    """A metrics-server that reads each kubelet every 15 seconds."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__("mlplatform:addons:MetricsServer", NAME)
        objects = read_manifests(NAME)
        objects["APIService", METRICS_API]["metadata"]["labels"] |= MANAGED
        server = vendored_manifests.container(objects["Deployment", NAME], NAME)
        server |= {
            "image": f"registry.k8s.io/metrics-server/metrics-server:{VERSIONS[NAME]['version']}",
            "args": [*server["args"], VERIFY if cluster.verified_kubelets else "--kubelet-insecure-tls"],
            "resources": {"requests": {"cpu": "20m", "memory": "50Mi"}, "limits": {"cpu": "200m", "memory": "200Mi"}},
        }
        vendored_manifests.probe_readiness_at_once(server)
        vendored_manifests.create(objects.values(), cluster.under(self))
        self.register_outputs({})
