"""Settings of the temporary stack of `make drill`."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from settings.paths import PROJECT
from tests.unit.tools.rehearsal.test_rehearsal_settings import NETWORK, validated
from tools.cli.rehearsal.drill_settings import local_drill_settings, without_runs
from tools.cli.rehearsal.rehearsal_settings import rehearsal_settings

ORIGINAL: dict[str, Any] = {
    "platform:tracking": {"port": 5050},
    "platform:blobs": {"account_url": "https://a.example.com", "account_key": "k", "container": "flowers"},
    "platform:backup": {"target": "/backups", "password": "long-enough", "schedule": "30 2 * * *"},
    "serving:port": 5005,
    "serving:grpc_port": 5006,
    "workloads:pipelines": {
        "iris-local": {},
        "iris-external": {"model": "iris", "serve": True, "parameters": {"blob": "iris.csv"}},
        "score-file": {"uses_model": "iris", "parameters": {"destination": "s3://predictions/today"}},
        "regression": {"model": "rent", "serve": True, "port": 5007},
    },
}


def test_local_drill_uses_free_ports_and_neither_account_nor_schedule_of_the_original() -> None:
    settings = local_drill_settings(ORIGINAL, grpc=True)
    found = validated(settings)
    ports = [
        *(found.platform.tracking.port, found.serving.port, found.serving.grpc_port),
        found.workloads.pipelines["regression"].port,
    ]
    assert found.platform.blobs
    assert len({found.platform.blobs.port, *ports} - {5050, 5005, 5006, 5007, 10000, None}) == 5
    assert (found.platform.blobs.account_url, found.platform.blobs.container) == (None, "flowers")
    assert found.platform.backup is None
    assert ORIGINAL["workloads:pipelines"]["regression"]["port"] == 5007


def test_local_drill_of_a_stack_without_grpc_and_blobs_has_neither() -> None:
    settings = local_drill_settings({"serving:port": 5005}, grpc=False)
    assert settings.keys() == {"platform:tracking", "serving:port"}


def test_drill_runs_no_pipeline_that_could_write_outside() -> None:
    teams: dict[str, Any] = {"risk": {"people": ["anna"], "pipelines": ["score-file", "regression"]}}
    pipelines = {**ORIGINAL["workloads:pipelines"], "daily": {"model": "d", "serve": True, "schedule": "0 1 * * *"}}
    store = {"access_key": "k", "secret_key": "s"}
    teams["risk"]["s3"] = store
    settings = without_runs({"workloads:pipelines": pipelines, "workloads:teams": teams, "platform:s3": store})
    assert "s3" not in str(settings)
    assert settings["workloads:pipelines"].keys() == {"iris-external", "regression", "daily"}
    assert settings["workloads:pipelines"]["daily"] == {"model": "d", "serve": True}
    assert settings["workloads:teams"]["risk"]["pipelines"] == ["regression"]
    assert pipelines["daily"]["schedule"]


@pytest.mark.parametrize("stack", ["dev", "lab", "onprem", "azure", "managed"])
def test_drills_of_committed_stacks_have_valid_settings(stack: str) -> None:
    committed = yaml.safe_load((PROJECT / f"Pulumi.{stack}.yaml").read_text())["config"]
    local = committed["infra:cluster"] == "none"
    settings = local_drill_settings(committed, grpc=False) if local else rehearsal_settings(committed, NETWORK, (1, 2))
    found = validated(without_runs(settings))
    assert all(pipeline.serve for pipeline in found.workloads.pipelines.values())
