"""Has what a model is asked about moved away from its training data?"""

from typing import NamedTuple

from kfp.dsl import Metrics, Output

from workloads.components import component


@component
def measure_drift(
    metrics: Output[Metrics],
    model_name: str,
    model_version: str,
    tracking_url: str,
    prometheus_url: str = "",
    server_url: str = "",
    hours: float = 24.0,
) -> NamedTuple("Drift", [("measured", bool), ("drifted", bool), ("finding", str)]):  # type: ignore[valid-type]
    """Compares what a registered model was asked about with what it was trained on, feature by feature.

    User and password of Prometheus come from the environment variables PROMETHEUS_USERNAME and PROMETHEUS_PASSWORD.

    Args:
        metrics: The population stability index of each feature, and the largest as psi; none where it cannot be told.
        model_name: The registered model.
        model_version: Its version.
        tracking_url: Address of MLflow.
        prometheus_url: Address of the Prometheus that watches the model's servers.
        server_url: Without one, address of the only server; it counts from its start.
        hours: How far to look back in Prometheus.
    """
    from workloads.ml import drift, registry, serving_counts

    features = registry.fetch(tracking_url, model_name, model_version).signature["features"]
    counts = serving_counts.read(prometheus_url, server_url, model_name, model_version, hours)
    indices, rows = drift.measured(features, counts)
    for name, index in indices.items():
        metrics.log_metric(f"psi_{name}", index)
    if indices:
        metrics.log_metric("psi", max(indices.values()))
        metrics.log_metric("rows", rows)
    finding = f"{model_name} version {model_version}: {drift.told(features, indices, rows)}"
    print(finding)
    return (bool(indices), any(index > drift.DRIFTED for index in indices.values()), finding)
