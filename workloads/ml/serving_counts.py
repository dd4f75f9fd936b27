"""Counts of the rows that model servers predicted, by feature and range, read from Prometheus or from one server."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from workloads.ml.drift import Counts
from workloads.ml.errors import StepError

COUNTER = "model_server_input_values_total"
"""The model server's counter of values, with the labels `model`, `version`, `feature` and `upto` (end of the range)."""
TIMEOUT_SECONDS = 30


def read_serving_counts(prometheus_url: str, server_url: str, model: str, version: str, hours: float) -> Counts:
    """Return the served rows of a model version.

    Prometheus counts the last `hours` of all servers; a single server counts from its start.
    The login of Prometheus is read from the environment: PROMETHEUS_USERNAME and PROMETHEUS_PASSWORD.

    Raises:
        StepError: Both addresses are empty, or the request failed.
    """
    if prometheus_url:
        return _from_prometheus(prometheus_url, model, version, hours)
    if server_url:
        return _from_server(server_url, model, version)
    raise StepError("prometheus_url, server_url: both are empty; set one of them to the source of the served rows")


def _from_prometheus(url: str, model: str, version: str, hours: float) -> Counts:
    series = f'{COUNTER}{{model="{model}",version="{version}"}}'
    query = f"sum by (feature, upto) (increase({series}[{round(hours * 3600)}s]))"
    user, password = (os.environ.get(f"PROMETHEUS_{name}", "") for name in ("USERNAME", "PASSWORD"))
    response = _get(f"{url}/api/v1/query", params={"query": query}, auth=(user, password) if password else None)
    return _by_feature((series["metric"], series["value"][1]) for series in response.json()["data"]["result"])


def _from_server(url: str, model: str, version: str) -> Counts:
    from prometheus_client.parser import text_string_to_metric_families

    samples = (
        (sample.labels, sample.value)
        for family in text_string_to_metric_families(_get(f"{url}/metrics").text)
        for sample in family.samples
        if sample.name == COUNTER and (sample.labels["model"], sample.labels["version"]) == (model, version)
    )
    return _by_feature(samples)


def _by_feature(samples: Iterable[tuple[Mapping[str, str], Any]]) -> Counts:
    counts: dict[str, dict[str, float]] = {}
    for labels, value in samples:
        counts.setdefault(labels["feature"], {})[labels["upto"]] = float(value)
    return counts


def _get(url: str, **arguments: Any) -> Any:
    import requests

    try:
        response = requests.get(url, timeout=TIMEOUT_SECONDS, **arguments)
        response.raise_for_status()
    except requests.RequestException as error:
        raise StepError(f"the counts of served rows cannot be read: {error}") from None
    return response
