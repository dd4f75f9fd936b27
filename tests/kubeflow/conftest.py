"""Engine for Kubeflow Pipelines with a stand-in for Kubeflow Pipelines and the cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from mlplatform.engine_config import KubeflowEngineConfig

from infra import retry
from infra.kubernetes_client.port_forward import PodTarget
from workloads.engines.kubeflow import kubeflow_engine as module
from workloads.engines.kubeflow.kubeflow_engine import KubeflowEngine

from .stand_in import StandIn, config_for, stand_in


@pytest.fixture
def backend() -> Iterator[StandIn]:
    with stand_in() as backend:
        yield backend


@pytest.fixture
def config(backend: StandIn, tmp_path: Path) -> KubeflowEngineConfig[str]:
    return config_for(backend.url, tmp_path)


@pytest.fixture
def kubeflow(backend: StandIn, config: KubeflowEngineConfig[str], monkeypatch: pytest.MonkeyPatch) -> KubeflowEngine:
    @contextmanager
    def port_forward(target: PodTarget[str]) -> Iterator[str]:
        yield backend.url if target.port == 8888 else f"http://{backend.metadata_address}"

    monkeypatch.setattr(module, "port_forward", port_forward)
    monkeypatch.setattr(module, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(retry, "PAUSE_SECONDS", 0.01)
    return KubeflowEngine(config)
