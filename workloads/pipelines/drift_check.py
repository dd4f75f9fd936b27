"""Drift between the rows that a model was served and its training data."""

from typing import NamedTuple

from kfp import dsl

from workloads.components import load_component

measure_drift = load_component("measure_drift")


class DriftCheckOutputs(NamedTuple):
    """Results of the measurement; `finding` is one sentence."""

    measured: bool
    drifted: bool
    finding: str


@dsl.pipeline(name="drift-check")
def drift_check(
    model_name: str,
    model_version: str,
    tracking_url: str,
    prometheus_url: str = "",
    server_url: str = "",
    hours: float = 24.0,
) -> DriftCheckOutputs:
    """Measure the distance between a served model's inputs and its training data."""
    task = measure_drift(
        model_name=model_name,
        model_version=model_version,
        tracking_url=tracking_url,
        prometheus_url=prometheus_url,
        server_url=server_url,
        hours=hours,
    )
    task.set_caching_options(False)  # each run measures a new time range
    drift = task.outputs
    return DriftCheckOutputs(drift["measured"], drift["drifted"], drift["finding"])
