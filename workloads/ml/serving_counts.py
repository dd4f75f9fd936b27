"""What a model was asked about: the model server counts it, and Prometheus gathers that from all servers."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

from workloads.ml.drift import Counts
from workloads.ml.errors import StepError

VALUES = "model_server_input_values_total"
"""The server's counter of values, by `model`, `version`, `feature` and `upto`, the upper end of a range."""
SAMPLE = re.compile(rf"^{VALUES}\{{(.*)\}} (\S+)$", re.MULTILINE)
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
ANSWER_SECONDS = 30


def read(prometheus_url: str, server_url: str, model: str, version: str, hours: float) -> Counts:
    """Rows of a model's version: by Prometheus those of the last hours, else those of one server since it started.

    Prometheus' user and password come from the environment variables PROMETHEUS_USERNAME and PROMETHEUS_PASSWORD.

    Raises:
        StepError: neither address is given, or there is no answer.
    """
    if prometheus_url:
        return _in_prometheus(prometheus_url, model, version, hours)
    if server_url:
        return _at_server(server_url, model, version)
    raise StepError("prometheus_url, server_url: both are empty; one of them has to tell what was served")


def _in_prometheus(url: str, model: str, version: str, hours: float) -> Counts:
    series = f'{VALUES}{{model="{model}",version="{version}"}}'
    query = f"sum by (feature, upto) (increase({series}[{round(hours * 3600)}s]))"
    user, password = (os.environ.get(f"PROMETHEUS_{name}", "") for name in ("USERNAME", "PASSWORD"))
    answer = _get(f"{url}/api/v1/query", params={"query": query}, auth=(user, password) if password else None)
    return _counts((found["metric"], found["value"][1]) for found in answer.json()["data"]["result"])


def _at_server(url: str, model: str, version: str) -> Counts:
    samples = ((dict(LABEL.findall(labels)), value) for labels, value in SAMPLE.findall(_get(f"{url}/metrics").text))
    return _counts(sample for sample in samples if (sample[0]["model"], sample[0]["version"]) == (model, version))


def _counts(samples: Iterable[tuple[Mapping[str, str], str]]) -> Counts:
    counts: dict[str, dict[str, float]] = {}
    for labels, value in samples:
        counts.setdefault(labels["feature"], {})[labels["upto"]] = float(value)
    return counts


def _get(url: str, **arguments: Any) -> Any:
    import requests

    try:
        answer = requests.get(url, timeout=ANSWER_SECONDS, **arguments)
        answer.raise_for_status()
    except requests.RequestException as error:
        raise StepError(f"what was served cannot be read: {error}") from None
    return answer
