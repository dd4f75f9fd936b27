"""Commands of the steps upgrade and ready on fake machines."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from infra import retry
from infra.errors import UserError
from infra.kubeadm import kubectl, packages
from infra.kubeadm import upgrade as upgrade_module
from infra.kubeadm.kubectl import STABLE_SECONDS
from infra.kubeadm.ready import ready
from infra.kubeadm.step import VersionRequest
from infra.kubeadm.upgrade import upgrade, upgrade_refusal
from infra.machine import ResolvedMachine, Role, SshLogin
from infra.ssh import CommandResult
from tests.sandbox import OWNER

OLD, NEW = "v1.33.13", "v1.34.4"
RUNTIME = "v2.4.2-runc-v1.5.3"


def machine(name: str, role: Role) -> ResolvedMachine:
    return ResolvedMachine(
        name=name, role=role, address="192.0.2.1", host="192.0.2.1", port=22, user="me", key="", host_key=""
    )


CONTROL_PLANE = machine("plane", "control-plane")
WORKER = machine("worker-1", "worker")


@dataclass
class Machines:
    """A control plane and workers: their versions, and the commands that they have run."""

    server: str = OLD
    kubelet: str = OLD
    unregistered: int = 0
    """Number of reads before the kubelet creates its node."""
    late_reports: int = 0
    """Number of reads that still return the status of the old kubelet."""
    starting: int = 0
    """Number of requests that fail because the API server starts."""
    cordoned: bool = False
    ignored_uncordons: int = 0
    """Number of uncordon commands that have no effect but exit with code 0, as kubectl's can."""
    restarts: list[int] = field(default_factory=list)
    """Numbers of the readiness requests that fail because the API server restarts."""
    coredns: str = "coredns-a plane\ncoredns-b worker-1\n"
    """The pods of CoreDNS, each with its node."""
    commands: list[str] = field(default_factory=list)
    owner: str = OWNER
    runtime: str = RUNTIME
    """The installed versions of containerd and runc, as recorded on the machine."""
    failing: str = ""
    """Commands that contain this text fail."""

    @contextmanager
    def connected(self, login: SshLogin) -> Iterator[Machines]:
        yield self

    def run(self, command: str, stdin: str = "", seconds: float | None = None) -> CommandResult:
        if self.failing and self.failing in command:
            return CommandResult(1, "", "it failed")
        if "/etc/mlplatform/owner" in command:
            return CommandResult(0, f"{self.owner}\n", "")
        if command == "sudo --non-interactive cat /var/lib/mlplatform/container-runtime":
            return CommandResult(0, f"{self.runtime}\n", "")
        if "test -f /var/lib/mlplatform/container-runtime" in command:
            return CommandResult(0, "yes\n" if self.runtime else "no\n", "")
        if "get --raw /version" in command:
            self.starting -= 1
            if self.starting >= 0:
                return CommandResult(1, "", "connection refused")
            return CommandResult(0, f'{{"gitVersion": "{self.server}"}}', "")
        if "get node" in command:
            self.unregistered -= 1
            if self.unregistered >= 0:
                missing = CommandResult(1, "", "nodes not found")
                return CommandResult(0, "", "") if "--ignore-not-found" in command else missing
            status = self.kubelet
            if "Ready" in command:
                self.late_reports -= 1
                status = f"{OLD if self.late_reports >= 0 else self.kubelet} True{' true' if self.cordoned else ''}"
            return CommandResult(0, status, "")
        if "k8s-app=kube-dns" in command:
            return CommandResult(0, self.coredns, "")
        if "get --raw /readyz" in command:
            self.restarts = [after - 1 for after in self.restarts]
            return CommandResult(int(0 in self.restarts), "ok", "connection refused")
        self.commands.append(summary(command))
        if " cordon " in command:
            self.cordoned = True
        if " uncordon " in command:
            self.ignored_uncordons -= 1
            self.cordoned = self.ignored_uncordons >= 0
        if "packages/containerd.sh" in command and "DRAINED=true" in command:
            self.runtime = RUNTIME
        if "PACKAGE_SET=kubelet" in command:
            self.kubelet = NEW
        if "upgrade.sh" in command and "ROLE=control-plane" in command:
            self.server = NEW
        return CommandResult(0, "", "")


def summary(command: str) -> str:
    """Return the purpose of a command in one or two words."""
    if package_set := re.search(r"PACKAGE_SET=(\w+)", command):
        return f"install {package_set[1]}"
    if "packages/containerd.sh" in command:
        return "install containerd"
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
    machines, clock = Machines(), [0.0]

    def sleep(seconds: float) -> None:
        machines.commands.append("wait")
        clock[0] += seconds

    for module in (kubectl, packages, upgrade_module):
        monkeypatch.setattr(module, "connected", machines.connected)
    monkeypatch.setattr(retry.time, "sleep", sleep)
    monkeypatch.setattr(retry.time, "monotonic", lambda: clock[0])
    return machines


def request(node: ResolvedMachine, version: str = NEW, runtime: str = RUNTIME) -> VersionRequest:
    return VersionRequest(
        node=node,
        control_plane=CONTROL_PLANE,
        version=version.removeprefix("v"),
        origin="registry.test:5443",
        credentials="\n",
        owner=OWNER,
        proxy={},
        runtime={"RUNTIME": runtime, "FROM": "registry.test:5443"},
    )


@pytest.mark.parametrize(("step", "node"), [(upgrade, CONTROL_PLANE), (ready, WORKER)])
def test_upgrade_drains_the_node_before_kubelet_and_uncordons_it(
    machines: Machines, step: Callable[[VersionRequest], None], node: ResolvedMachine
) -> None:
    step(request(node))
    assert [command for command in machines.commands if command != "wait"] == [
        "install kubeadm",
        "kubeadm upgrade",
        "cordon",
        "drain",
        "install containerd",
        "install kubelet",
        "uncordon",
        "wait for all",
    ]


def test_ready_with_a_status_of_the_old_kubelet_waits_for_the_new_one(machines: Machines) -> None:
    machines.late_reports = 3
    ready(request(WORKER))
    assert machines.commands[-7:] == ["install kubelet", "wait", "wait", "wait", "uncordon", "wait", "wait for all"]


@pytest.mark.parametrize(("step", "node"), [(upgrade, CONTROL_PLANE), (ready, WORKER)])
@pytest.mark.parametrize("installed", ["", "v2.4.1-runc-v1.5.3", "v2.4.2-runc-v1.5.3 is not finished"])
def test_node_with_another_container_runtime_is_drained_before_it_is_replaced(
    machines: Machines, step: Callable[[VersionRequest], None], node: ResolvedMachine, installed: str
) -> None:
    machines.server = machines.kubelet = NEW
    machines.runtime = installed
    step(request(node))
    commands = [command for command in machines.commands if command != "wait"]
    assert commands == ["cordon", "drain", "install containerd", "uncordon", "wait for all"]
    step(request(node))
    assert machines.commands[len(commands) :].count("drain") == 0


@pytest.mark.parametrize("failing", ["test -f /var/lib/mlplatform", "cat /var/lib/mlplatform"])
@pytest.mark.parametrize(("step", "node"), [(upgrade, CONTROL_PLANE), (ready, WORKER)])
def test_node_whose_container_runtime_cannot_be_read_is_not_drained(
    machines: Machines, step: Callable[[VersionRequest], None], node: ResolvedMachine, failing: str
) -> None:
    machines.server = machines.kubelet = NEW
    machines.failing = failing
    with pytest.raises(UserError, match=f"^{node.name}: .*it failed"):
        step(request(node))
    assert machines.commands == []


def test_container_runtime_of_the_distribution_is_not_compared(machines: Machines) -> None:
    machines.server = machines.kubelet = NEW
    machines.runtime = ""
    upgrade(request(CONTROL_PLANE, runtime="distribution"))
    ready(request(WORKER, runtime="distribution"))
    assert [command for command in machines.commands if command != "wait"] == []


def test_upgrade_of_a_current_control_plane_changes_nothing_and_does_not_wait(machines: Machines) -> None:
    machines.server = machines.kubelet = NEW
    upgrade(request(CONTROL_PLANE))
    assert machines.commands == []


@pytest.mark.parametrize(("step", "node"), [(upgrade, CONTROL_PLANE), (ready, WORKER)])
def test_step_with_a_control_plane_of_another_stack_raises(
    machines: Machines, step: Callable[[VersionRequest], None], node: ResolvedMachine
) -> None:
    machines.owner = "acme/mlplatform/other fedcba9876543210"
    with pytest.raises(UserError, match=f"plane is left alone: /etc/mlplatform/owner has {machines.owner}, and this"):
        step(request(node))
    assert machines.commands == []


@pytest.mark.parametrize(("server", "kubelet"), [(NEW, OLD), (OLD, NEW)])
def test_upgrade_of_a_half_upgraded_control_plane_finishes_it(machines: Machines, server: str, kubelet: str) -> None:
    machines.server, machines.kubelet = server, kubelet
    upgrade(request(CONTROL_PLANE))
    assert (machines.server, machines.kubelet) == (NEW, NEW)
    assert not machines.cordoned


def test_upgrade_with_a_starting_api_server_waits(machines: Machines) -> None:
    machines.starting = 2
    upgrade(request(CONTROL_PLANE))
    assert machines.commands[:3] == ["wait", "wait", "install kubeadm"]


def test_ready_with_a_cordoned_current_worker_uncordons_it(machines: Machines) -> None:
    machines.kubelet, machines.cordoned = NEW, True
    ready(request(WORKER))
    assert machines.commands == ["uncordon", "wait"]


def test_ready_of_a_kubelet_without_a_node_waits_for_it(machines: Machines) -> None:
    machines.kubelet, machines.unregistered = NEW, 3
    ready(request(WORKER))
    assert machines.commands == ["wait", "wait"]


def test_ready_with_ignored_uncordons_repeats_them(machines: Machines) -> None:
    machines.kubelet, machines.cordoned, machines.ignored_uncordons = NEW, True, 2
    ready(request(WORKER))
    assert machines.commands.count("uncordon") == 3
    assert not machines.cordoned


def test_upgrade_with_a_restarting_api_server_waits_until_it_is_stable(machines: Machines) -> None:
    machines.restarts = [10, 11]
    upgrade(request(CONTROL_PLANE))
    after_kubelet = machines.commands[machines.commands.index("install kubelet") :]
    assert after_kubelet[: after_kubelet.index("uncordon")].count("wait") >= 10 + STABLE_SECONDS


@pytest.mark.parametrize(
    ("coredns", "node", "commands"),
    [
        ("coredns-a plane\ncoredns-b plane\n", WORKER, ["delete coredns-a"]),
        ("coredns-a plane\ncoredns-b plane\n", CONTROL_PLANE, []),
        ("coredns-a plane\ncoredns-b worker-1\n", WORKER, []),
        ("coredns-a plane\n", WORKER, []),
        ("coredns-a \ncoredns-b \n", WORKER, []),
    ],
)
def test_ready_with_all_coredns_pods_on_one_node_deletes_one(
    machines: Machines, coredns: str, node: ResolvedMachine, commands: list[str]
) -> None:
    machines.kubelet, machines.coredns = NEW, coredns
    ready(request(node))
    assert machines.commands == commands


def test_ready_with_a_failed_kubeadm_upgrade_keeps_the_old_kubelet(machines: Machines) -> None:
    machines.failing = "upgrade.sh"
    with pytest.raises(UserError, match="worker-1: kubeadm upgrade failed with code 1: it failed"):
        ready(request(WORKER))
    assert machines.commands == ["install kubeadm"]


def test_ready_with_an_unavailable_deployment_logs_it_and_continues(
    machines: Machines, capsys: pytest.CaptureFixture[str]
) -> None:
    machines.failing = "condition=Available"
    ready(request(WORKER))
    assert "Not all Deployments are available: it failed" in capsys.readouterr().err
    assert machines.kubelet == NEW


def test_upgrade_past_a_minor_version_raises_before_any_change(machines: Machines) -> None:
    with pytest.raises(UserError, match=r"infra:kubernetes\.version: .* past v1\.34"):
        upgrade(request(CONTROL_PLANE, "v1.35.1"))
    assert machines.commands == []


@pytest.mark.parametrize(
    ("current", "wanted", "reason"),
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
def test_upgrade_refusal_between_versions_allows_newer_patches_and_the_next_minor(
    current: str, wanted: str, reason: str | None
) -> None:
    refusal = upgrade_refusal(current, wanted)
    assert refusal is None if reason is None else reason in str(refusal)
