"""The program that runs local steps of the kubeadm cluster."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from infra.kubeadm import join, kubectl
from infra.kubeadm import reconcile as reconcile_module
from infra.kubeadm import reset as reset_module
from infra.kubeadm.__main__ import main
from infra.kubeadm.init import FIRST_EXPIRY
from infra.machine import ResolvedMachine
from tests.recorder import LocalShell, Recorder, properties
from tests.sandbox import OWNER


def run(action: str, request: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["kubeadm", action])
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(request)))
    return main()


def test_main_with_an_unreachable_machine_returns_1_and_prints_the_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    node, control_plane = properties("worker-1", "worker"), properties("plane", "control-plane")
    assert run("join", {"node": node, "owner": OWNER, "control_plane": control_plane}, monkeypatch) == 1
    assert f"worker-1: no SSH at 127.0.0.1:{int(node['port'])} (" in capsys.readouterr().err


def test_main_reset_of_an_unreachable_machine_returns_0_with_a_warning(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("reset", {"node": properties("worker-1", "worker"), "owner": OWNER}, monkeypatch) == 0
    assert "worker-1 was not reset: worker-1: no SSH at" in capsys.readouterr().err


@pytest.mark.parametrize("nodes", ["", "node/worker-1\n"])
def test_join_creates_a_token_only_for_a_new_node_and_deletes_it(nodes: str, monkeypatch: pytest.MonkeyPatch) -> None:
    machines = Recorder(nodes)
    for module in (join, kubectl):
        monkeypatch.setattr(module, "connected", machines.connected)
    node, control_plane = properties("worker-1", "worker"), properties("plane", "control-plane")
    assert run("join", {"node": node, "owner": OWNER, "control_plane": control_plane}, monkeypatch) == 0
    joins = [machine for machine, command in machines.commands if "join.sh" in command]
    assert joins == ([] if nodes else ["worker-1"])
    assert not any("abcdef.0123456789abcdef" in command for _, command in machines.commands)
    if not nodes:
        assert machines.commands[-1] == ("plane", "sudo --non-interactive kubeadm token delete abcdef")


@pytest.mark.parametrize(("address", "removed"), [("10.0.0.1", True), ("10.0.0.10", False), ("", False)])
def test_join_removes_the_node_of_a_lost_machine_with_its_address_alone(
    address: str, removed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kubernetes reports the node of a lost machine as Ready for up to a minute, and kubeadm refuses such a name."""
    machines = Recorder("node/worker-1\n", missing="kubelet.conf", printed={"InternalIP": address})
    for module in (join, kubectl):
        monkeypatch.setattr(module, "connected", machines.connected)
    node, control_plane = properties("worker-1", "worker"), properties("plane", "control-plane")
    assert run("join", {"node": node, "owner": OWNER, "control_plane": control_plane}, monkeypatch) == 0
    assert machines.named("delete node worker-1") == (["plane"] if removed else [])
    assert machines.named("join.sh") == ["worker-1"]


def test_join_of_a_worker_whose_sudo_fails_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A failed sudo must not look like a missing kubelet.conf: the node of a healthy worker would be deleted."""
    machines = Recorder("node/worker-1\n", failing="worker-1: sudo", printed={"InternalIP": "10.0.0.1"})
    for module in (join, kubectl):
        monkeypatch.setattr(module, "connected", machines.connected)
    node, control_plane = properties("worker-1", "worker"), properties("plane", "control-plane")
    assert run("join", {"node": node, "owner": OWNER, "control_plane": control_plane}, monkeypatch) == 1
    assert machines.named("delete node") == machines.named("token create") == []
    assert "worker-1: looking for /etc/kubernetes/kubelet.conf failed with code 1: it failed" in capsys.readouterr().err


OTHER = "acme/mlplatform/other fedcba9876543210"


@pytest.mark.parametrize("action", ["reset", "leave"])
@pytest.mark.parametrize("owner", ["", OTHER])
def test_step_on_a_machine_of_another_owner_leaves_it_alone(
    action: str, owner: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    machines = Recorder("node/worker-1\n", owner)
    for module in (join, kubectl, reset_module):
        monkeypatch.setattr(module, "connected", machines.connected)
    request = {"node": properties("worker-1", "worker"), "owner": OWNER}
    if action == "leave":
        request["control_plane"] = properties("plane", "control-plane")
    assert run(action, request, monkeypatch) == 0
    assert [command for _, command in machines.commands if "sudo" in command] == []
    left_alone = f"is left alone: /etc/mlplatform/owner has {owner or 'no owner'}, and this stack is {OWNER}"
    assert left_alone in capsys.readouterr().out


def test_reset_of_an_own_machine_runs_the_script(monkeypatch: pytest.MonkeyPatch) -> None:
    machines = Recorder()
    monkeypatch.setattr(reset_module, "connected", machines.connected)
    assert run("reset", {"node": properties("worker-1", "worker"), "owner": OWNER}, monkeypatch) == 0
    assert machines.commands[-1][1].endswith(f"env OWNER='{OWNER}' bash -s reset.sh")


def test_reset_with_a_failed_script_returns_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(reset_module, "connected", Recorder(failing="reset.sh").connected)
    assert run("reset", {"node": properties("worker-1", "worker"), "owner": OWNER}, monkeypatch) == 1
    assert "worker-1: reset failed with code 1: it failed" in capsys.readouterr().err


def test_resolved_machine_parse_converts_numbers() -> None:
    assert ResolvedMachine.parse(properties("worker-1", "worker")).port % 1 == 0
    assert isinstance(ResolvedMachine.parse(properties("worker-1", "worker")).port, int)


def reconcile_request(monkeypatch: pytest.MonkeyPatch, machines: Recorder) -> int:
    for module in (reconcile_module, kubectl):
        monkeypatch.setattr(module, "connected", machines.connected)
    monkeypatch.setattr(kubectl, "READY_SECONDS", 0)
    node, control_plane = properties("worker-1", "worker"), properties("plane", "control-plane")
    request = {"node": node, "owner": OWNER, "control_plane": control_plane}
    return run("reconcile", request | {"environment": {"ROLE": "worker"}, "digest": "0123"}, monkeypatch)


def test_reconcile_runs_the_script_and_waits_for_the_certificate(monkeypatch: pytest.MonkeyPatch) -> None:
    machines = Recorder()
    assert reconcile_request(monkeypatch, machines) == 0
    assert [(machine, command.rpartition(" ")[2]) for machine, command in machines.commands if "sudo" in command] == [
        ("plane", "approver.sh"),
        ("worker-1", "reconcile.sh"),
        ("plane", kubectl.APPROVER),
        ("plane", "/api/v1/nodes/worker-1/proxy/healthz"),
    ]


def test_reconcile_with_a_certificate_that_is_not_approved_names_the_log(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert reconcile_request(monkeypatch, Recorder(failing="proxy/healthz")) == 1
    error = capsys.readouterr().err
    assert "cannot connect to the kubelet of worker-1 after 0 s: it failed" in error
    assert f"journalctl --unit {kubectl.APPROVER}" in error


ENDS = {"apiserver.crt": "Nov 30 10:00:00 2027 GMT", "apiserver-etcd-client.crt": "Nov 29 10:00:00 2027 GMT"}


@pytest.mark.parametrize(
    ("unreadable", "sudo", "printed"),
    [
        ("", "", "2027-11-29T10:00:00+00:00\n"),
        ("apiserver.crt", "", ""),
        ("apiserver-etcd-client.crt", "", ""),
        ("", "exit 1", ""),
    ],
)
def test_first_expiry_is_the_earliest_end_and_fails_if_a_certificate_cannot_be_read(
    tmp_path: Path, unreadable: str, sudo: str, printed: str
) -> None:
    shell = LocalShell(tmp_path, f'{sudo}\nshift; exec "$@"')
    for name, end in ENDS.items():
        (tmp_path / name).write_text("" if name == unreadable else f"notAfter={end}\n")
    (tmp_path / "openssl").write_text('#!/bin/sh\nshift 4; [ -s "$1" ] && cat "$1"\n')
    (tmp_path / "openssl").chmod(0o755)
    result = shell.run(FIRST_EXPIRY.replace("/etc/kubernetes/pki", str(tmp_path)))
    assert (result.code != 0) is (printed == "")
    assert (result.output if result.code == 0 else "") == printed
