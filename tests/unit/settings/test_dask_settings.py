"""Settings of Dask: refused where no workers start or where their memory is too small."""

from __future__ import annotations

import json
from typing import Any

import pytest

from settings.errors import SettingsError
from settings.loading import load_settings

PIPELINES = "workloads:pipelines"
WORKERS = {"workers": 2, "memory": "768Mi"}
ENGINES = {"onprem": {"platform:pipelines": "kubeflow"}}


@pytest.mark.parametrize(
    ("stack", "pipeline", "expected"),
    [
        ("dev", {"dask": {"workers": 0}}, "dask.workers"),
        ("dev", {"dask": {"workers": 2, "memory": "1 GB"}}, "dask.memory"),
        ("dev", {"dask": {"workers": 2, "memory": "100Mi"}}, "100Mi is too little for a worker"),
        ("dev", {"dask": WORKERS, "parameters": {"dask": {}}}, "dask and parameters.dask both describe the workers"),
        ("onprem", {"dask": WORKERS}, "iris-external.dask: platform:pipelines: kubeflow starts no workers"),
    ],
)
def test_load_with_invalid_workers_names_setting_and_fault(stack: str, pipeline: dict[str, Any], expected: str) -> None:
    with pytest.raises(SettingsError) as error:
        load_settings(stack, {PIPELINES: json.dumps({"iris-external": pipeline}), **ENGINES.get(stack, {})})
    assert expected in str(error.value)


def test_load_with_workers_passes_them_to_the_pipeline() -> None:
    settings = load_settings("dev", {PIPELINES: json.dumps({"iris-external": {"dask": WORKERS}})})
    assert settings.workloads.pipelines["iris-external"].arguments["dask"] == WORKERS
