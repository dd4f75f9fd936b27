"""kube-state-metrics: the state of nodes, pods and leases in the API server, as metrics."""

from __future__ import annotations

from mlplatform.k8s.deployment import deployment, service
from mlplatform.k8s.namespace import ANY_ADDRESS, DNS, Namespace, tcp_ports
from mlplatform.k8s.pod import Container, HttpGet, Pod, Probe, Probes, Resources
from mlplatform.k8s.rbac import service_account
from mlplatform.monitoring.scraping import IMAGES, from_prometheus, labels

NAME = "kube-state-metrics"
PORT, TELEMETRY_PORT = 8080, 8081
"""The port of the cluster's metrics, and that of metrics on the process itself."""
METRICS = (
    "kube_lease_renew_time",
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
"""The metrics that alerts and the status page use; any other would only take memory here and in Prometheus."""


def kube_state_metrics(namespace: Namespace) -> None:
    """Create one kube-state-metrics for the cluster, with the right to list nodes, pods and leases only."""
    account = service_account(
        NAME,
        namespace.name,
        namespace.cluster,
        *namespace.resources,
        cluster_rules=[
            {"apiGroups": [""], "resources": ["nodes", "pods"], "verbs": ["list", "watch"]},
            {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["list", "watch"]},
        ],
    )
    policy = namespace.allow(
        NAME,
        labels(NAME),
        ingress=[from_prometheus(PORT)],
        egress=[DNS, {**ANY_ADDRESS, **tcp_ports(443, 6443)}],
    )
    server = Container(
        NAME,
        IMAGES[NAME],
        Resources(cpu=("10m", "200m"), memory=("32Mi", "128Mi")),
        args=[
            *(f"--port={PORT}", f"--telemetry-port={TELEMETRY_PORT}"),
            *("--resources=leases,nodes,pods", f"--metric-allowlist={','.join(METRICS)}"),
        ],
        ports={"http": PORT},
        probes=Probes(
            readiness=Probe(HttpGet("/readyz", TELEMETRY_PORT), period=5),
            liveness=Probe(HttpGet("/livez", PORT), period=20, timeout=5),
        ),
    )
    pod = Pod([server], account=NAME)
    deployment(NAME, namespace, labels(NAME), pod, *account, policy, strategy="RollingUpdate")
    service(NAME, namespace, labels(NAME), labels(NAME), {"http": (PORT, PORT)})
