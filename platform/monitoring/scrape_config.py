"""The configuration of Prometheus: its targets, and the metrics of each that it keeps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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
"""The part of the volume for stored blocks; the write-ahead log takes space, too."""


def configuration(
    size_gb: int,
    retention_days: int,
    port: int,
    servers: Sequence[str],
    *,
    kubeflow: bool,
    door: str,
    alerts: bool,
    verified_kubelets: bool,
) -> dict[str, Any]:
    """Return the content of prometheus.yaml.

    Of the API server and the kubelets, only series that alerts or the status page use are kept: all of them would take
    most of Prometheus' memory. The usage of containers comes from the kubelet's resource metrics, which are the part of
    cAdvisor's metrics that is used here.

    Args:
        size_gb: the size of the volume in GiB.
        retention_days: the age at which measurements are deleted.
        port: the port on which Prometheus scrapes itself.
        servers: namespaces of model servers.
        kubeflow: whether to scrape Kubeflow Pipelines.
        door: namespace of the door, "" without one.
        alerts: whether there is an Alertmanager.
        verified_kubelets: whether the cluster's certificate authority signs the certificates of kubelets.
    """
    size = f"{int(size_gb * VOLUME_SHARE * 1024)}MB"
    settings: dict[str, Any] = {
        "global": {"scrape_interval": "30s", "evaluation_interval": "30s"},
        "storage": {"tsdb": {"retention": {"time": f"{retention_days}d", "size": size}}},
        "rule_files": ["*.rules.yaml"],
        "scrape_configs": [
            _prometheus(port),
            _kubelet("kubelet", "/metrics", verified_kubelets) | _keep_only(KUBELET_METRICS),
            # With the kubelet's timestamps, the usage of a deleted pod would remain visible for minutes.
            _kubelet("containers", "/metrics/resource", verified_kubelets) | {"honor_timestamps": False},
            _api_server(),
            _pods("nodes", [node_exporter.NAMESPACE], {"node": "pod_node_name"}),
            _static("objects", f"{kube_state_metrics.NAME}.{NAMESPACE}.svc:{kube_state_metrics.PORT}"),
            _pods("model-servers", servers, MODEL_LABELS) | {"scrape_interval": "15s"},
            *([_static("kubeflow", f"{KUBEFLOW_API}.{KUBEFLOW}.svc:{KUBEFLOW_PORT}")] if kubeflow else []),
            *([_static("door", f"door.{door}.svc:80") | {"metrics_path": "/door/metrics"}] if door else []),
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
"""Label of a series: the label of service discovery that has its value."""


def _static(name: str, address: str) -> dict[str, Any]:
    return {"job_name": name, "static_configs": [{"targets": [address]}]}


def _prometheus(port: int) -> dict[str, Any]:
    login = {"username": USER, "password_file": PASSWORD_FILE}
    return _static(PROMETHEUS, f"localhost:{port}") | {"basic_auth": login}


def _with_token(verify: bool) -> dict[str, Any]:
    """Return the settings of a target that takes the pod's token over TLS.

    Without `verify`, any certificate is accepted: kubelets of some vendors sign theirs themselves.
    """
    trust: dict[str, Any] = {"ca_file": f"{ACCOUNT}/ca.crt"} if verify else {"insecure_skip_verify": True}
    return {"scheme": "https", "authorization": {"credentials_file": f"{ACCOUNT}/token"}, "tls_config": trust}


def _api_server() -> dict[str, Any]:
    return {
        **_static("api-server", "kubernetes.default.svc:443"),
        # Parsing forty thousand lines takes processor time, however few of them are kept.
        "scrape_interval": "1m",
        **_with_token(verify=True),
        **_keep_only(API_SERVER_METRICS),
    }


def _kubelet(name: str, path: str, verify: bool) -> dict[str, Any]:
    return {
        "job_name": name,
        "metrics_path": path,
        **_with_token(verify),
        "kubernetes_sd_configs": [{"role": "node"}],
        "relabel_configs": [_label("node", "node_name")],
    }


def _pods(name: str, namespaces: Sequence[str], labels: dict[str, str]) -> dict[str, Any]:
    """Return the job for the running pods of namespaces with a port named http.

    `instance` is the pod's name, not its address. `labels` are labels of service discovery by label of the series.
    """
    meta = "__meta_kubernetes_pod"
    return {
        "job_name": name,
        "kubernetes_sd_configs": [{"role": "pod", "namespaces": {"names": list(namespaces)}}],
        "relabel_configs": [
            {"source_labels": [f"{meta}_container_port_name"], "regex": "http", "action": "keep"},
            {"source_labels": [f"{meta}_phase"], "regex": "Running", "action": "keep"},
            {"source_labels": [f"{meta}_name"], "target_label": "instance"},
            *(_label(label, source) for label, source in labels.items()),
        ],
    }


def _label(label: str, source: str) -> dict[str, Any]:
    return {"source_labels": [f"__meta_kubernetes_{source}"], "target_label": label}


def _keep_only(metrics: tuple[str, ...]) -> dict[str, Any]:
    keep = {"source_labels": ["__name__"], "regex": "|".join(metrics), "action": "keep"}
    return {"metric_relabel_configs": [keep]}
