"""A cluster that does not answer is told of; nothing in it passes for unchanged."""

from __future__ import annotations

import pulumi
import pytest

from infra import cluster
from tests.harness import free_ports
from tests.stand_ins import kubeconfig


def test_an_api_server_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "ANSWER_SECONDS", 0)
    server = f"https://127.0.0.1:{free_ports(1)[0]}"
    with pytest.raises(pulumi.RunError, match=f"the API server at {server} does not answer"):
        cluster._asked(kubeconfig(server))
