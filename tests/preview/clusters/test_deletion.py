"""Resources whose deletion needs the cluster: Pulumi must not delete them when the cluster is deleted, too."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.harness import CHECKOUT, temporary_stacks

WITH_DELETE = {"PipelineVersion", "PipelineSchedule"}
"""Dynamic resources whose delete sends requests to the cluster."""


@pytest.mark.parametrize("pipelines", ["job", "kubeflow"])
def test_every_resource_in_the_cluster_is_deleted_with_it(pipelines: str, project: Path, tmp_path: Path) -> None:
    settings = yaml.safe_load((CHECKOUT / "Pulumi.onprem.yaml").read_text())["config"]
    machine = {"name": "alpha", "role": "control-plane", "address": "192.0.2.1", "host_key": "ssh-ed25519 AAAA"}
    settings |= {
        "infra:hosts": {"user": "me", "private_key": "key", "machines": [machine]},
        "platform:registry": {"url": "https://registry.example.com/team", "username": "builder", "password": "word"},
        "platform:pipelines": pipelines,
        "workloads:pipelines": {"iris-local": {"schedule": "0 0 3 * * *"} if pipelines == "kubeflow" else {}},
    }
    with temporary_stacks(project) as make:
        code, output = make(f"deletion-{pipelines}", tmp_path, settings).pulumi("preview", "--json")
    assert code == 0, output
    states = [step["newState"] for step in json.JSONDecoder().raw_decode(output[output.index("{") :])[0]["steps"]]
    in_cluster = [state for state in states if _needs_cluster(state["type"])]
    assert len(in_cluster) > 20
    assert any("PipelineVersion" in state["type"] for state in in_cluster)
    assert any("PipelineSchedule" in state["type"] for state in in_cluster) == (pipelines == "kubeflow")
    assert [state["urn"] for state in in_cluster if not state.get("deletedWith")] == []


def _needs_cluster(kind: str) -> bool:
    package, _, name = kind.partition(":")
    return package == "kubernetes" or name.rpartition(":")[2] in WITH_DELETE
