"""A cluster that does not answer is told of; nothing in it passes for unchanged."""

from __future__ import annotations

import pulumi
import pytest
import yaml

from infra import cluster
from tests.harness import free_ports


def test_an_api_server_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "ANSWER_SECONDS", 0)
    server = f"https://127.0.0.1:{free_ports(1)[0]}"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "me",
        "contexts": [{"name": "me", "context": {"cluster": "here", "user": "me"}}],
        "clusters": [{"name": "here", "cluster": {"server": server}}],
        "users": [{"name": "me", "user": {"token": "word"}}],
    }
    with pytest.raises(pulumi.RunError, match=f"the API server at {server} does not answer"):
        cluster._asked(yaml.safe_dump(config))
