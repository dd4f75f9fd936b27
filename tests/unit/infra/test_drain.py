"""The state of a node and its drain, with a kubectl whose results a test lists."""

from __future__ import annotations

from typing import cast

import pytest

from infra import retry
from infra.errors import UserError
from infra.kubeadm.kubectl import Kubectl
from infra.machine import ResolvedMachine
from infra.ssh import CommandResult, Shell

PLANE = ResolvedMachine(
    name="plane", role="control-plane", address="192.0.2.1", host="192.0.2.1", port=22, user="me", key="", host_key=""
)
REFUSED = CommandResult(1, "", "The connection to the server 192.0.2.1:6443 was refused")
BUDGET = (
    'error when evicting pods/"web-1" -n "shop" (will retry after 5s): Cannot evict pod as it would violate the pod\'s '
    'disruption budget.\nerror when evicting pods/"web-1" -n "shop": global timeout reached: 2m0s'
)
STUCK = 'error when waiting for pod "web-1" in namespace "shop" to terminate: context deadline exceeded'
DONE = CommandResult(0, "", "")


class Results:
    """A shell that returns one result for each command, and the last one from then on."""

    def __init__(self, *results: CommandResult) -> None:
        self.results, self.commands = [*results], list[str]()

    def run(self, command: str, stdin: str = "", seconds: float | None = None) -> CommandResult:
        self.commands.append(command)
        return self.results.pop(0) if len(self.results) > 1 else self.results[0]

    @property
    def kubectl(self) -> Kubectl:
        return Kubectl(cast(Shell, self), PLANE, local_server=False)


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the waits of the test, which take no time."""
    waits: list[float] = []
    monkeypatch.setattr(retry.time, "sleep", waits.append)
    monkeypatch.setattr(retry.time, "monotonic", lambda: sum(waits))
    return waits


@pytest.mark.parametrize(("status", "ready"), [("True", True), ("False", False), ("Unknown", False)])
def test_is_ready_of_a_condition(status: str, ready: bool) -> None:
    assert Results(CommandResult(0, status, "")).kubectl.is_ready("worker-1") is ready


def test_is_ready_after_failed_requests_is_that_of_the_first_response() -> None:
    assert Results(REFUSED, REFUSED, CommandResult(0, "True", "")).kubectl.is_ready("worker-1")


@pytest.mark.parametrize(
    ("result", "reason"),
    [(REFUSED, "failed with code 1: The connection to the server"), (DONE, "failed: its condition Ready is ''")],
    ids=["error", "no-condition"],
)
def test_is_ready_without_a_status_raises(result: CommandResult, reason: str, waits: list[float]) -> None:
    with pytest.raises(UserError, match=f"^reading whether node worker-1 is Ready {reason}"):
        Results(result).kubectl.is_ready("worker-1")
    assert 5 <= sum(waits) <= 60


def test_drain_if_ready_without_a_status_changes_nothing() -> None:
    results = Results(REFUSED)
    with pytest.raises(UserError):
        results.kubectl.drain_if_ready("worker-1")
    assert not [command for command in results.commands if "cordon" in command or "drain" in command]


@pytest.mark.parametrize("error", [BUDGET, STUCK])
def test_drain_that_a_budget_or_a_pod_blocks_deletes_the_pods(error: str) -> None:
    results = Results(CommandResult(1, "", error), DONE)
    results.kubectl.drain("worker-1")
    assert ["--disable-eviction" in command for command in results.commands] == [False, True]


def test_drain_with_failed_requests_repeats_the_eviction() -> None:
    results = Results(REFUSED, DONE)
    results.kubectl.drain("worker-1")
    assert ["--disable-eviction" in command for command in results.commands] == [False, False]


def test_drain_that_fails_otherwise_respects_disruption_budgets() -> None:
    results = Results(REFUSED)
    with pytest.raises(UserError, match="draining worker-1 failed with code 1: The connection"):
        results.kubectl.drain("worker-1")
    assert not any("--disable-eviction" in command for command in results.commands)
