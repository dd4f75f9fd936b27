"""Waiting for an API server."""

from __future__ import annotations

import pulumi
import pytest

from infra import cluster
from infra.local.free_ports import free_port
from tests.stand_ins import kubeconfig


def test_wait_for_an_unreachable_api_server_raises_with_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "ANSWER_SECONDS", 0)
    server = f"https://127.0.0.1:{free_port()}"
    with pytest.raises(pulumi.RunError, match=f"the API server at {server} does not respond"):
        cluster._wait(kubeconfig(server))
