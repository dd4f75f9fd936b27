"""For how long a machine counts as found fit for a node."""

from __future__ import annotations

from typing import Any

import pytest

from infra.errors import UserError
from infra.kubeadm import preflight

PROVIDER = preflight._PreflightProvider()
MACHINE = {"name": "worker-1", "host": "192.0.2.12", "port": 22}
PROPS: dict[str, Any] = {"machine": MACHINE, "others": []}


def asked(monkeypatch: pytest.MonkeyPatch, answer: bool | UserError) -> None:
    def facts(_machine: Any, _peers: Any) -> dict[str, Any]:
        if isinstance(answer, UserError):
            raise answer
        return {"member": answer}

    monkeypatch.setattr(preflight, "_facts", facts)


def test_one_that_is_no_node_yet_is_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    asked(monkeypatch, False)
    assert PROVIDER.read("worker-1", PROPS | {"member": False}).id == ""


def test_one_that_has_become_a_node_is_so_from_then_on(monkeypatch: pytest.MonkeyPatch) -> None:
    asked(monkeypatch, True)
    found = PROVIDER.read("worker-1", PROPS)
    assert (found.id, found.outs) == ("worker-1", PROPS | {"member": True})
    asked(monkeypatch, False)
    assert PROVIDER.read("worker-1", found.outs or {}).outs == found.outs
    assert not PROVIDER.diff("worker-1", found.outs or {}, PROPS).changes


def test_one_that_does_not_answer_is_left_as_it_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    asked(monkeypatch, UserError("worker-1: no SSH at 192.0.2.12:22"))
    assert PROVIDER.read("worker-1", PROPS).id == "worker-1"
