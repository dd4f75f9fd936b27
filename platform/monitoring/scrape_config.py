"""What Prometheus reads, and where it finds that: its scrape configuration."""

from __future__ import annotations

from typing import Any

from mlplatform.k8s.namespace import SERVING
from mlplatform.kubeflow.api_server import HTTP as KUBEFLOW_PORT
from mlplatform.kubeflow.api_server import NAME as KUBEFLOW_API
from mlplatform.kubeflow.deployment_factory import NAMESPACE as KUBEFLOW
from mlplatform.monitoring import alertmanager, kube_state_metrics, node_exporter
from mlplatform.monitoring.scraping import NAMESPACE, PROMETHEUS

ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
LOGIN = "/etc/prometheus-login"
PASSWORD_FILE = f"{LOGIN}/password"
USER = "prometheus"
API_SERVER_METRICS = (
    "apiserver_client_certificate_expiration_seconds_.+",
    "apiserver_current_inflight_requests",
    "apiserver_request_total",
)
KUBELET_METRICS = ("kubelet_certificate_manager_.+", "kubelet_running_.+", "kubelet_volume_stats_.+")
VOLUME_SHARE = 0.8
"""Of the volume, that old measurements may fill: what is being written takes room, too."""


def configuration(size_gb: int, retention_days: int, port: int, kubeflow: bool, alerts: bool) -> dict[str, Any]:
    """The whole of prometheus.yaml.

    Of the API server and kubelet only what is asked for is kept: their thousands of series would be most of its memory.
    What containers take comes from kubelet's resource metrics, which are cAdvisor's without all that nobody asks for.
    """
    size = f"{int(size_gb * VOLUME_SHARE * 1024)}MB"
    settings: dict[str, Any] = {
        "global": {"scrape_interval": "30s", "evaluation_interval": "30s"},
        "storage": {"tsdb": {"retention": {"time": f"{retention_days}d", "size": size}}},
        "rule_files": ["*.rules.yaml"],
        "scrape_configs": [
            _itself(port),
            _kubelet("kubelet", "/metrics") | _only(KUBELET_METRICS),
            # With the time that it says they are from, what a pod took would be told for minutes after its end.
            _kubelet("containers", "/metrics/resource") | {"honor_timestamps": False},
            _api_server(),
            _pods("nodes", node_exporter.NAMESPACE, {"node": "pod_node_name"}),
            _static("objects", f"{kube_state_metrics.NAME}.{NAMESPACE}.svc:{kube_state_metrics.PORT}"),
            _pods("model-servers", SERVING, MODEL_LABELS) | {"scrape_interval": "15s"},
            *([_static("kubeflow", f"{KUBEFLOW_API}.{KUBEFLOW}.svc:{KUBEFLOW_PORT}")] if kubeflow else []),
        ],
    }
    if alerts:
        address = f"{alertmanager.NAME}.{NAMESPACE}.svc:{alertmanager.PORT}"
        settings["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": [address]}]}]}
    return settings


MODEL_LABELS = {
    "namespace": "namespace",
    "pod": "pod_name",
    "service": "pod_label_app_kubernetes_io_name",
    "track": "pod_label_mlplatform_track",
}
"""Label of a series: what Kubernetes knows of the pod that it is from."""


def _static(name: str, address: str) -> dict[str, Any]:
    return {"job_name": name, "static_configs": [{"targets": [address]}]}


def _itself(port: int) -> dict[str, Any]:
    login = {"username": USER, "password_file": PASSWORD_FILE}
    return _static(PROMETHEUS, f"localhost:{port}") | {"basic_auth": login}


def _as_account(authority: bool) -> dict[str, Any]:
    """Over TLS with the pod's own token. Kubelets of kubeadm sign their certificates themselves, with no authority."""
    trust: dict[str, Any] = {"ca_file": f"{ACCOUNT}/ca.crt"} if authority else {"insecure_skip_verify": True}
    return {"scheme": "https", "authorization": {"credentials_file": f"{ACCOUNT}/token"}, "tls_config": trust}


def _api_server() -> dict[str, Any]:
    return {
        **_static("api-server", "kubernetes.default.svc:443"),
        # Reading forty thousand lines is what takes time, whatever is kept of them.
        "scrape_interval": "1m",
        **_as_account(authority=True),
        **_only(API_SERVER_METRICS),
    }


def _kubelet(name: str, path: str) -> dict[str, Any]:
    return {
        "job_name": name,
        "metrics_path": path,
        **_as_account(authority=False),
        "kubernetes_sd_configs": [{"role": "node"}],
        "relabel_configs": [_label("node", "node_name")],
    }


def _pods(name: str, namespace: str, labels: dict[str, str]) -> dict[str, Any]:
    """Pods with a port named http that are not about to go; a series is known by its pod, not by the pod's address."""
    meta = "__meta_kubernetes_pod"
    return {
        "job_name": name,
        "kubernetes_sd_configs": [{"role": "pod", "namespaces": {"names": [namespace]}}],
        "relabel_configs": [
            {"source_labels": [f"{meta}_container_port_name"], "regex": "http", "action": "keep"},
            {"source_labels": [f"{meta}_phase"], "regex": "Running", "action": "keep"},
            {"source_labels": [f"{meta}_name"], "target_label": "instance"},
            *(_label(label, known) for label, known in labels.items()),
        ],
    }


def _label(label: str, known: str) -> dict[str, Any]:
    return {"source_labels": [f"__meta_kubernetes_{known}"], "target_label": label}


def _only(metrics: tuple[str, ...]) -> dict[str, Any]:
    keep = {"source_labels": ["__name__"], "regex": "|".join(metrics), "action": "keep"}
    return {"metric_relabel_configs": [keep]}
