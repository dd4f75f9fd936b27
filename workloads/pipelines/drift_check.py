"""What a served model was asked about, compared with what it was trained on."""

from typing import NamedTuple

from kfp import dsl

from workloads.components import load

measure_drift = load("measure_drift")


class Outputs(NamedTuple):
    measured: bool
    drifted: bool
    finding: str


@dsl.pipeline(name="drift-check", description="Measures how far a served model's inputs are from its training data.")
def drift_check(
    model_name: str,
    model_version: str,
    tracking_url: str,
    prometheus_url: str = "",
    server_url: str = "",
    hours: float = 24.0,
) -> Outputs:
    task = measure_drift(
        model_name=model_name,
        model_version=model_version,
        tracking_url=tracking_url,
        prometheus_url=prometheus_url,
        server_url=server_url,
        hours=hours,
    )
    task.set_caching_options(False)  # what was served is another each time
    found = task.outputs
    return Outputs(found["measured"], found["drifted"], found["finding"])
