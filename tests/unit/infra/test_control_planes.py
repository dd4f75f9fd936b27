"""Steps of a cluster with three control planes, with machines that record commands."""

from __future__ import annotations

import io
import json
import sys
from typing import Any

import pytest

from infra.kubeadm import etcd, init, join, kubectl, virtual_address
from infra.kubeadm import reconcile as reconcile_module
from infra.kubeadm import reset as reset_module
from infra.kubeadm.__main__ import main
from tests.recorder import TOKEN, Recorder, properties
from tests.sandbox import OWNER

PLANES = [properties(f"plane-{number}", "control-plane", f"10.0.0.{number}") for number in (1, 2, 3)]
ENVIRONMENT = {"NODE": "plane-3", "ADDRESS": "10.0.0.3", "TAINTED": "true"}
MEMBERS = {
    "members": [
        {"ID": 10, "name": "plane-1", "peerURLs": ["https://10.0.0.1:2380"]},
        # A member that has not started has no name.
        {"ID": 12648430, "peerURLs": ["https://10.0.0.3:2380"]},
    ]
}


def run(
    action: str, machines: Recorder, monkeypatch: pytest.MonkeyPatch, node: dict[str, Any] = PLANES[2], **more: Any
) -> int:
    for module in (etcd, init, join, kubectl, reconcile_module, virtual_address, reset_module):
        monkeypatch.setattr(module, "connected", machines.connected)
    for timeout in ("READY_SECONDS", "ANSWER_SECONDS"):
        monkeypatch.setattr(kubectl, timeout, 0)
    request = {"node": node, "owner": OWNER, "control_plane": PLANES[0], "other_control_planes": PLANES[1:], **more}
    monkeypatch.setattr(sys, "argv", ["kubeadm", action])
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(request)))
    return main()


def new_machine(**more: Any) -> Recorder:
    """Return machines of which plane-3 is no control plane yet, and has the name and address of a lost one."""
    printed = {"member list": json.dumps(MEMBERS), "InternalIP": "10.0.0.3"}
    return Recorder(missing="plane-3: ", printed=printed, **more)


def test_join_of_a_control_plane_removes_its_old_member_and_keeps_key_and_token_out_of_commands(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machines = new_machine()
    machines.printed |= {"encryption.yaml": "keys-of-secrets", "get secret kubeadm-certs": "bootstrap-token-fedcba"}
    assert run("join-control-plane", machines, monkeypatch, environment=ENVIRONMENT) == 0
    static_pods = "delete pods --selector tier=control-plane --field-selector spec.nodeName=plane-3"
    order = [
        "member remove c0ffee",
        "delete node plane-3",
        static_pods,
        "token create",
        "upload-certificates.sh",
        "control-plane/join.sh",
        "delete secret",
    ]
    assert found_in_order(machines, order) == order
    assert machines.named("control-plane/join.sh") == ["plane-3"]
    (stdin,) = [stdin for command, stdin in machines.inputs if "control-plane/join.sh" in command]
    _, _, key = stdin.splitlines()[-2].split()
    assert (len(key), stdin.splitlines()[-1]) == (64, "keys-of-secrets")
    assert not any(secret in command for _, command in machines.commands for secret in (key, TOKEN, "keys-of-secrets"))
    assert "kubeadm-certs bootstrap-token-fedcba" in machines.commands[-2][1]
    assert machines.commands[-1][1].endswith("kubeadm token delete abcdef")


def test_join_of_a_control_plane_at_another_address_removes_the_member_of_its_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    members = {"members": [{"ID": 12648430, "name": "plane-3", "peerURLs": ["https://10.0.0.9:2380"]}]}
    machines = Recorder(missing="plane-3: ", printed={"member list": json.dumps(members), "InternalIP": "10.0.0.9"})
    assert run("join-control-plane", machines, monkeypatch, environment=ENVIRONMENT) == 0
    assert len(machines.named("member remove c0ffee")) == 1


def found_in_order(machines: Recorder, parts: list[str]) -> list[str]:
    """Return for each command with one of the parts that part, in the order of the commands."""
    return [part for _, command in machines.commands for part in parts if part in command]


def test_join_of_a_control_plane_of_the_cluster_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    machines = Recorder("node/plane-3\n")
    assert run("join-control-plane", machines, monkeypatch, environment=ENVIRONMENT) == 0
    assert machines.named("join.sh") == machines.named("token create") == []


def test_join_of_a_control_plane_whose_sudo_fails_removes_neither_member_nor_node(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = {"member list": json.dumps(MEMBERS), "InternalIP": "10.0.0.3"}
    machines = Recorder("node/plane-3\n", failing="plane-3: sudo", printed=printed)
    assert run("join-control-plane", machines, monkeypatch, environment=ENVIRONMENT) == 1
    assert machines.named("member remove") == machines.named("delete node") == []
    assert "plane-3: looking for /etc/kubernetes/.control-plane-ready failed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("failing", "missing"),
    [
        ("", "plane-1: "),
        ("plane-1: sudo --non-interactive sh", ""),
        ("plane-1: sudo --non-interactive kubectl", ""),
    ],
    ids=["no-control-plane", "sudo-fails", "not-ready"],
)
@pytest.mark.parametrize("off", [(), ("plane-1",)])
def test_step_with_a_lost_first_control_plane_uses_the_next_one(
    failing: str, missing: str, off: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    machines = Recorder(failing=failing, missing=missing, off=off)
    assert run("join", machines, monkeypatch, node=properties("worker-1", "worker")) == 0
    assert machines.named("token create") == ["plane-2"]
    (server,) = {command.split(" --server ")[1].split()[0] for _, command in machines.commands if "get node" in command}
    assert server == "https://10.0.0.2:6443"


def test_step_without_any_control_plane_names_the_reason_of_each(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    machines = Recorder(off=("plane-1",), failing="plane-2: sudo --non-interactive kubectl")
    worker = properties("worker-1", "worker")
    assert run("join", machines, monkeypatch, node=worker, other_control_planes=PLANES[1:2]) == 1
    error = capsys.readouterr().err
    assert "plane-1: no SSH" in error
    assert "the API server of plane-2 is not ready: it failed" in error


@pytest.mark.parametrize("off", [(), ("plane-3",)])
def test_leave_of_a_control_plane_drains_it_then_removes_its_member_then_the_node(
    off: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    printed = {"member list": json.dumps(MEMBERS), '"Ready"': "True"}
    machines = Recorder("node/plane-3\n", off=off, printed=printed)
    assert run("leave", machines, monkeypatch) == 0
    order = ["drain plane-3", "stop keepalived", "member remove c0ffee", "delete node plane-3"]
    assert found_in_order(machines, order) == [part for part in order if not off or part != "stop keepalived"]
    assert machines.named("delete node") == ["plane-1"]
    assert machines.named("/etc/mlplatform/nodes/plane-3") == ["plane-1", "plane-2"]


@pytest.mark.parametrize(
    ("other", "approving", "stopped"),
    [("plane-2", ["plane-1"], ["plane-3"]), ("plane-3", ["plane-1", "plane-2"], [])],
)
def test_leave_changes_nothing_on_a_machine_of_another_stack(
    other: str, approving: list[str], stopped: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    owners = {f"{other}: cat /etc/mlplatform/owner": "acme/mlplatform/other fedcba9876543210"}
    printed = {**owners, "member list": json.dumps(MEMBERS), '"Ready"': "True"}
    machines = Recorder("node/plane-3\n", printed=printed)
    assert run("leave", machines, monkeypatch) == 0
    assert machines.named("/etc/mlplatform/nodes/plane-3") == approving
    assert machines.named("stop keepalived") == stopped


@pytest.mark.parametrize("ready", ["False", "Unknown"])
def test_leave_of_a_dead_machine_waits_for_no_pod(ready: str, monkeypatch: pytest.MonkeyPatch) -> None:
    machines = Recorder("node/plane-3\n", printed={"member list": json.dumps(MEMBERS), '"Ready"': ready})
    assert run("leave", machines, monkeypatch) == 0
    assert machines.named("drain plane-3") == []
    assert machines.named("cordon plane-3") == machines.named("delete node plane-3") == ["plane-1"]


@pytest.mark.parametrize("ready_later", [True, False])
def test_leave_of_a_machine_that_died_a_moment_ago_removes_its_node(
    ready_later: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The node is still Ready when the drain begins, and the pods of a dead machine do not end."""
    machines = Recorder("node/plane-3\n", failing="drain plane-3", printed={"member list": json.dumps(MEMBERS)})
    ready = iter([True, ready_later])
    monkeypatch.setattr(kubectl.Kubectl, "is_ready", lambda *_: next(ready))
    assert run("leave", machines, monkeypatch) == (1 if ready_later else 0)
    assert machines.named("delete node plane-3") == ([] if ready_later else ["plane-1"])


def test_leave_of_a_node_whose_state_is_unknown_removes_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A failed kubectl must not look like a dead machine, whose node is deleted without a drain."""
    machines = Recorder("node/plane-3\n", failing='"Ready"', printed={"member list": json.dumps(MEMBERS)})
    assert run("leave", machines, monkeypatch) == 1
    assert machines.named("delete node") == machines.named("member remove") == []
    assert "reading whether node plane-3 is Ready failed with code 1: it failed" in capsys.readouterr().err


@pytest.mark.parametrize("action", ["join-control-plane", "leave"])
def test_only_control_plane_neither_joins_nor_leaves(action: str, monkeypatch: pytest.MonkeyPatch) -> None:
    machines = Recorder("node/plane-1\n")
    more = {"environment": ENVIRONMENT} if action != "leave" else {}
    assert run(action, machines, monkeypatch, node=PLANES[0], other_control_planes=[], **more) == 0
    assert machines.commands == []


@pytest.mark.parametrize(
    ("nodes", "more", "removed"),
    [
        ("node/plane-3\n", {"missing": "plane-3: "}, True),
        ("node/plane-3\n", {}, False),
        ("node/plane-3\n", {"missing": "plane-3: ", "off": ("plane-3",)}, False),
        ("node/plane-3\n", {"missing": "plane-3: ", "failing": "plane-3: sudo --non-interactive sh"}, False),
        ("", {"missing": "plane-3: "}, False),
    ],
    ids=["replaced", "member", "off", "sudo-fails", "first-up"],
)
def test_reconcile_first_removes_the_members_of_control_planes_with_a_new_machine(
    nodes: str, more: dict[str, Any], removed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    machines = Recorder(nodes, printed={"member list": json.dumps(MEMBERS)}, **more)
    environment = {"environment": {"ROLE": "control-plane"}, "digest": "0123"}
    run("reconcile", machines, monkeypatch, node=PLANES[0], **environment)
    order = ["member remove c0ffee", "reconcile.sh"]
    assert found_in_order(machines, order) == (order if removed else order[1:])


@pytest.mark.parametrize(
    ("more", "code", "marked"),
    [
        ({"missing": "test -f"}, 0, False),
        ({"missing": "plane-1: "}, 0, True),
        ({"missing": "plane-1: ", "off": ("plane-2",)}, 0, True),
        ({"missing": "test -f", "off": ("plane-2",)}, 1, False),
        ({"missing": "test -f", "failing": "plane-2: sudo"}, 1, False),
        ({"failing": "plane-1: sudo"}, 1, False),
        ({}, 0, False),
    ],
    ids=["new", "exists", "exists-in-part", "unknown", "sudo-of-another-fails", "sudo-fails", "finished"],
)
def test_find_cluster_marks_a_new_first_machine_only_if_another_one_has_the_cluster(
    more: dict[str, Any], code: int, marked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    machines = Recorder(**more)
    assert run("find-cluster", machines, monkeypatch, node=PLANES[0]) == code
    assert bool(machines.named("touch /etc/mlplatform/cluster-exists")) is marked


def test_hold_address_names_the_other_control_planes_and_give_up_of_a_dead_machine_succeeds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    machines = Recorder()
    assert run("hold-address", machines, monkeypatch, virtual_address="10.0.0.10") == 0
    (command,) = [command for _, command in machines.commands if "keepalived.sh" in command]
    assert "VIRTUAL_ADDRESS=10.0.0.10 ADDRESS=10.0.0.3 PEERS='10.0.0.1 10.0.0.2'" in command
    assert run("give-address-up", Recorder(off=("plane-3",)), monkeypatch, virtual_address="10.0.0.10") == 0
    assert "plane-3: no SSH" in capsys.readouterr().err
