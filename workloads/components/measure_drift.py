"""Drift between the rows that a model was served and its training data."""

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
    """Compare the served rows of a registered model with its training data, feature by feature.

    The login of Prometheus is read from the environment: PROMETHEUS_USERNAME and PROMETHEUS_PASSWORD.

    Args:
        metrics: The population stability index of each feature, and the largest as psi; empty if none was measured.
        model_name: Name of the registered model.
        model_version: Version of the registered model.
        tracking_url: Address of MLflow.
        prometheus_url: Address of the Prometheus that scrapes the model servers.
        server_url: Address of the only model server, used without Prometheus; it counts from its start.
        hours: Time range in Prometheus, in hours.
    """
    from workloads.ml import drift, model_registry
    from workloads.ml.serving_counts import read_serving_counts

    features = model_registry.fetch(tracking_url, model_name, model_version).signature["features"]
    counts = read_serving_counts(prometheus_url, server_url, model_name, model_version, hours)
    indices, rows = drift.measure(features, counts)
    for name, index in indices.items():
        metrics.log_metric(f"psi_{name}", index)
    if indices:
        metrics.log_metric("psi", max(indices.values()))
        metrics.log_metric("rows", rows)
    finding = f"{model_name} version {model_version}: {drift.describe_drift(features, indices, rows)}"
    print(finding)
    return (bool(indices), any(index > drift.DRIFTED for index in indices.values()), finding)
