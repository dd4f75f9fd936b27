"""What `infra.kubeadm.node_commands` asks of machines to bring nodes to another version, tried on fakes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from infra.errors import UserError
from infra.kubeadm import node_commands
from infra.ssh import Finished

OLD, NEW = "v1.33.13", "v1.34.4"
PLANE = {"name": "plane", "role": "control-plane"}
WORKER = {"name": "worker-1", "role": "worker"}


@dataclass
class Machines:
    """A control plane and workers: which versions they have, and what they were told to do."""

    server: str = OLD
    kubelet: str = OLD
    late: int = 0
    """How often a node still answers what its old kubelet said last."""
    starting: int = 0
    """How often the API server does not answer yet."""
    cordoned: bool = False
    unheard: int = 0
    """How many times uncordoning does nothing, and says that it went well, as kubectl does."""
    restarts: list[int] = field(default_factory=list)
    """At which looks the API server is found starting anew."""
    coredns: str = "coredns-a plane\ncoredns-b worker-1\n"
    """CoreDNS' pods, each with its node."""
    done: list[str] = field(default_factory=list)
    fails: str = ""
    """Commands with this in them do."""

    @contextmanager
    def connected(self, machine: Mapping[str, Any]) -> Iterator[Machines]:
        yield self

    def run(self, command: str, stdin: str = "", seconds: float | None = None) -> Finished:
        if self.fails and self.fails in command:
            return Finished(1, "", "it failed")
        if "get --raw /version" in command:
            self.starting -= 1
            if self.starting >= 0:
                return Finished(1, "", "connection refused")
            return Finished(0, f'{{"gitVersion": "{self.server}"}}', "")
        if "get node" in command:
            told = self.kubelet
            if "Ready" in command:
                self.late -= 1
                told = f"{OLD if self.late >= 0 else self.kubelet} True{' true' if self.cordoned else ''}"
            return Finished(0, told, "")
        if "k8s-app=kube-dns" in command:
            return Finished(0, self.coredns, "")
        if "get --raw /readyz" in command:
            self.restarts = [after - 1 for after in self.restarts]
            return Finished(int(0 in self.restarts), "ok", "connection refused")
        self.done.append(said(command))
        if " cordon " in command:
            self.cordoned = True
        if " uncordon " in command:
            self.unheard -= 1
            self.cordoned = self.unheard >= 0
        if "WHAT=kubelet" in command:
            self.kubelet = NEW
        if "upgrade.sh" in command and "ROLE=control-plane" in command:
            self.server = NEW
        return Finished(0, "", "")


def said(command: str) -> str:
    """What a command does, in a word or two."""
    if what := re.search(r"WHAT=(\w+)", command):
        return f"install {what[1]}"
    if "upgrade.sh" in command:
        return "kubeadm upgrade"
    if "wait --for=condition=Available deployment" in command:
        return "wait for all"
    if pod := re.search(r"delete pod (\S+)", command):
        return f"delete {pod[1]}"
    verb = re.search(r"admin\.conf (\w+)", command)
    return verb[1] if verb else command


@pytest.fixture
def machines(monkeypatch: pytest.MonkeyPatch) -> Machines:
    made, clock = Machines(), [0.0]

    def sleep(seconds: float) -> None:
        made.done.append("wait")
        clock[0] += seconds

    monkeypatch.setattr(node_commands, "connected", made.connected)
    monkeypatch.setattr(node_commands.time, "sleep", sleep)
    monkeypatch.setattr(node_commands.time, "monotonic", lambda: clock[0])
    return made


def order(of: Mapping[str, Any], version: str = NEW) -> dict[str, Any]:
    return {
        "node": of,
        "control_plane": PLANE,
        "version": version.removeprefix("v"),
        "from": "registry.test:5443",
        "credentials": "\n",
    }


@pytest.mark.parametrize(("act", "of"), [(node_commands.upgrade, PLANE), (node_commands.ready, WORKER)])
def test_kubelet_comes_last_on_a_node_that_is_drained_and_takes_pods_again(
    machines: Machines, act: Any, of: Any
) -> None:
    act(order(of))
    assert [step for step in machines.done if step != "wait"] == [
        "install kubeadm",
        "kubeadm upgrade",
        "cordon",
        "drain",
        "install kubelet",
        "uncordon",
        "wait for all",
    ]


def test_a_node_is_ready_when_its_new_kubelet_says_so_and_not_by_what_the_old_one_said(machines: Machines) -> None:
    machines.late = 3
    node_commands.ready(order(WORKER))
    assert machines.done[-7:] == ["install kubelet", "wait", "wait", "wait", "uncordon", "wait", "wait for all"]


def test_a_control_plane_that_has_its_version_is_left_as_it_is_and_not_waited_for(machines: Machines) -> None:
    machines.server = machines.kubelet = NEW
    node_commands.upgrade(order(PLANE))
    assert machines.done == []


@pytest.mark.parametrize(("server", "kubelet"), [(NEW, OLD), (OLD, NEW)])
def test_a_control_plane_that_was_upgraded_by_half_is_upgraded(machines: Machines, server: str, kubelet: str) -> None:
    machines.server, machines.kubelet = server, kubelet
    node_commands.upgrade(order(PLANE))
    assert (machines.server, machines.kubelet) == (NEW, NEW)
    assert not machines.cordoned


def test_an_api_server_that_starts_is_waited_for(machines: Machines) -> None:
    machines.starting = 2
    node_commands.upgrade(order(PLANE))
    assert machines.done[:3] == ["wait", "wait", "install kubeadm"]


def test_a_worker_that_has_its_version_is_uncordoned(machines: Machines) -> None:
    machines.kubelet, machines.cordoned = NEW, True
    node_commands.ready(order(WORKER))
    assert machines.done == ["uncordon", "wait"]


def test_a_node_is_uncordoned_until_it_is(machines: Machines) -> None:
    machines.kubelet, machines.cordoned, machines.unheard = NEW, True, 2
    node_commands.ready(order(WORKER))
    assert machines.done.count("uncordon") == 3
    assert not machines.cordoned


def test_an_api_server_that_the_new_kubelet_starts_anew_is_waited_for(machines: Machines) -> None:
    machines.restarts = [10, 11]
    node_commands.upgrade(order(PLANE))
    waited = machines.done[machines.done.index("install kubelet") : machines.done.index("uncordon")].count("wait")
    assert waited >= 10 + node_commands.STEADY_SECONDS


@pytest.mark.parametrize(
    ("coredns", "of", "moved"),
    [
        ("coredns-a plane\ncoredns-b plane\n", WORKER, ["delete coredns-a"]),
        ("coredns-a plane\ncoredns-b plane\n", PLANE, []),
        ("coredns-a plane\ncoredns-b worker-1\n", WORKER, []),
        ("coredns-a plane\n", WORKER, []),
        ("coredns-a \ncoredns-b \n", WORKER, []),
    ],
)
def test_when_a_worker_is_ready_not_all_of_coredns_stays_on_one_node(
    machines: Machines, coredns: str, of: Mapping[str, Any], moved: list[str]
) -> None:
    machines.kubelet, machines.coredns = NEW, coredns
    node_commands.ready(order(of))
    assert machines.done == moved


def test_a_failed_upgrade_leaves_kubelet_as_it_is(machines: Machines) -> None:
    machines.fails = "upgrade.sh"
    with pytest.raises(UserError, match="worker-1: kubeadm upgrade failed with code 1: it failed"):
        node_commands.ready(order(WORKER))
    assert machines.done == ["install kubeadm"]


def test_what_does_not_run_again_is_told_and_does_not_hold_up_the_upgrade(
    machines: Machines, capsys: pytest.CaptureFixture[str]
) -> None:
    machines.fails = "condition=Available"
    node_commands.ready(order(WORKER))
    assert "Not everything runs again: it failed" in capsys.readouterr().err
    assert machines.kubelet == NEW


def test_what_kubeadm_would_refuse_is_refused_before_anything_is_changed(machines: Machines) -> None:
    with pytest.raises(UserError, match=r"infra:kubernetes\.version: .* past v1\.34"):
        node_commands.upgrade(order(PLANE, "v1.35.1"))
    assert machines.done == []


@pytest.mark.parametrize(
    ("there", "wanted", "why"),
    [
        ("v1.33.13", "v1.34.4", None),
        ("v1.33.9", "v1.33.13", None),
        ("v1.34.4", "v1.34.4", None),
        ("v1.33.13", "v1.35.0", "past v1.34"),
        ("v1.33.13", "v2.0.0", "past v1.34"),
        ("v1.34.4", "v1.33.13", "does not go back to v1.33.13"),
        ("v1.34.10", "v1.34.9", "does not go back to v1.34.9"),
    ],
)
def test_kubeadm_goes_to_a_newer_patch_or_the_next_minor_version(there: str, wanted: str, why: str | None) -> None:
    found = node_commands.refusal(there, wanted)
    assert found is None if why is None else why in str(found)
