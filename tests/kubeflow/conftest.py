"""The engine, with a stand-in for what it talks to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from infra import retry
from tests.stand_ins import kubeconfig
from workloads.engines.kubeflow import kubeflow_engine as module
from workloads.engines.kubeflow.kubeflow_engine import KubeflowEngine

from .stand_in import NAMESPACE, StandIn, stand_in


@pytest.fixture
def it() -> Iterator[StandIn]:
    with stand_in() as it:
        yield it


@pytest.fixture
def properties(it: StandIn, tmp_path: Path) -> dict[str, str]:
    return {
        "kind": "kubeflow",
        "kubeconfig": kubeconfig(it.url),
        "namespace": NAMESPACE,
        "api_selector": "app=ml-pipeline",
        "api_port": "8888",
        "metadata_selector": "app=metadata",
        "metadata_port": "8080",
        "experiment": "dev",
        "keep_runs": "true",
        "directory": str(tmp_path),
    }


@pytest.fixture
def kubeflow(it: StandIn, properties: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> KubeflowEngine:
    @contextmanager
    def reached(_: str, access: Mapping[str, str]) -> Iterator[str]:
        yield it.url if access["port"] == "8888" else f"http://{it.metadata_address}"

    monkeypatch.setattr(module, "reached", reached)
    monkeypatch.setattr(module, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(retry, "PAUSE_SECONDS", 0.01)
    return KubeflowEngine(properties)
