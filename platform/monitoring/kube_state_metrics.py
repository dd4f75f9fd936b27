"""kube-state-metrics: what Kubernetes knows of its nodes and pods, as metrics."""

from __future__ import annotations

import pulumi_kubernetes as kubernetes
from mlplatform.k8s.namespace import CONTAINER_SECURITY, DNS, EVERYWHERE, POD, Namespace
from mlplatform.k8s.rbac import service_account
from mlplatform.monitoring.scraping import IMAGES, from_prometheus, labels, metadata

NAME = "kube-state-metrics"
PORT, OWN_PORT = 8080, 8081
"""Of the metrics, and of those on itself."""
METRICS = (
    "kube_node_info",
    "kube_node_spec_taint",
    "kube_node_spec_unschedulable",
    "kube_node_status_condition",
    "kube_pod_container_status_last_terminated_reason",
    "kube_pod_container_status_restarts_total",
    "kube_pod_container_status_waiting_reason",
    "kube_pod_info",
    "kube_pod_status_phase",
    "kube_pod_status_ready",
)
"""Those that alerts and pages ask for; all others stay out of its memory and of Prometheus'."""


def kube_state_metrics(room: Namespace) -> None:
    """One for the cluster. It may list nodes and pods, and nothing else."""
    account = service_account(
        NAME,
        room.name,
        room.cluster,
        *room.resources,
        everywhere=[{"apiGroups": [""], "resources": ["nodes", "pods"], "verbs": ["list", "watch"]}],
    )
    policy = room.allow(
        NAME,
        labels(NAME),
        ingress=[from_prometheus(PORT)],
        egress=[DNS, {**EVERYWHERE, "ports": [{"protocol": "TCP", "port": port} for port in (443, 6443)]}],
    )
    container = {
        "name": NAME,
        "image": IMAGES[NAME],
        "args": [
            *(f"--port={PORT}", f"--telemetry-port={OWN_PORT}"),
            *("--resources=nodes,pods", f"--metric-allowlist={','.join(METRICS)}"),
        ],
        "ports": [{"name": "http", "containerPort": PORT}],
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": OWN_PORT}, "periodSeconds": 5},
        "livenessProbe": {"httpGet": {"path": "/livez", "port": PORT}, "periodSeconds": 20, "timeoutSeconds": 5},
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"cpu": "200m", "memory": "128Mi"}},
        "securityContext": CONTAINER_SECURITY,
    }
    pod = {**POD, "serviceAccountName": NAME, "automountServiceAccountToken": True, "containers": [container]}
    kubernetes.apps.v1.Deployment(
        NAME,
        metadata=metadata(NAME),
        spec={
            "replicas": 1,
            "selector": {"matchLabels": labels(NAME)},
            "template": {"metadata": {"labels": labels(NAME)}, "spec": pod},
        },
        opts=room.options(*account, policy),
    )
    kubernetes.core.v1.Service(
        NAME,
        metadata=metadata(NAME),
        spec={"selector": labels(NAME), "ports": [{"name": "http", "port": PORT, "targetPort": PORT}]},
        opts=room.options(),
    )
