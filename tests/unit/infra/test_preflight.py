"""Results of the preflight provider, and the time for which they hold."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from infra.errors import UserError
from infra.kubeadm import preflight
from infra.kubeadm.preflight.facts import MachineFacts, parse_facts
from infra.kubeadm.preflight.ports import required_ports
from infra.machine import ResolvedMachine, Role
from tests.sandbox import OWNER

PROVIDER = preflight._PreflightProvider()
MACHINE = {
    "name": "worker-1",
    "role": "worker",
    "address": "10.0.0.12",
    "host": "192.0.2.12",
    "port": 22.0,
    "user": "ubuntu",
    "key": "",
    "host_key": "",
    "bastion": None,
}
PROPS: dict[str, Any] = {"machine": MACHINE, "others": [], "owner": OWNER, "network": "weave"}
OUTPUT = """os ubuntu 24.04
architecture x86_64
hostname worker-1
machine_id 0123
clock 1000.5
cpus 2
memory_mib 4000
disk_free_mib 20000
cgroups v2
init systemd
has_address yes
sudo yes
listening 22
"""
FACTS = parse_facts(OUTPUT, 1000.0, 1001.0)


def gather(monkeypatch: pytest.MonkeyPatch, is_node: bool | UserError) -> None:
    """Return facts with that value, or raise that error, instead of connecting to the machine."""

    def facts(*_: Any) -> Any:
        if isinstance(is_node, UserError):
            raise is_node
        return replace(FACTS, is_node=is_node, owner=OWNER if is_node else "")

    monkeypatch.setattr(preflight, "gather_facts", facts)


def test_read_of_a_machine_that_is_no_node_deletes_the_resource(monkeypatch: pytest.MonkeyPatch) -> None:
    gather(monkeypatch, False)
    assert PROVIDER.read("worker-1", PROPS | {"member": False}).id == ""


def test_read_of_a_machine_that_has_become_a_node_keeps_the_resource(monkeypatch: pytest.MonkeyPatch) -> None:
    gather(monkeypatch, True)
    result = PROVIDER.read("worker-1", PROPS)
    assert (result.id, result.outs) == ("worker-1", PROPS | {"member": True})
    gather(monkeypatch, False)
    assert PROVIDER.read("worker-1", result.outs or {}).outs == result.outs
    assert not PROVIDER.diff("worker-1", result.outs or {}, PROPS).changes


def test_read_of_an_unreachable_machine_keeps_the_resource(monkeypatch: pytest.MonkeyPatch) -> None:
    gather(monkeypatch, UserError("worker-1: no SSH at 192.0.2.12:22"))
    assert PROVIDER.read("worker-1", PROPS).id == "worker-1"


def test_create_of_a_fit_machine_returns_whether_it_is_a_node(monkeypatch: pytest.MonkeyPatch) -> None:
    gather(monkeypatch, False)
    assert PROVIDER.create(PROPS).outs == PROPS | {"member": False}


def test_create_of_an_unfit_machine_raises_with_all_findings(monkeypatch: pytest.MonkeyPatch) -> None:
    text = OUTPUT.replace("ubuntu 24.04", "fedora 40").replace("sudo yes", "sudo no a password is required")
    text = text.replace("clock 1000.5", "clock 1031.0") + "listening 10250\nunreachable 10.0.0.11\n"
    facts = parse_facts(text, 1000.0, 1001.0)
    monkeypatch.setattr(preflight, "gather_facts", lambda *_: facts)
    with pytest.raises(UserError) as error:
        PROVIDER.create(PROPS)
    message = str(error.value)
    assert message.startswith("worker-1 (192.0.2.12) cannot become a node yet:\n")
    for finding in (
        "it runs fedora 40; supported are ubuntu 22.04, 24.04; debian 12, 13",
        "ubuntu may not use sudo without a password (a password is required)",
        "its clock is 30 s ahead of that of this computer",
        "it cannot reach 10.0.0.11",
        "port 10250 is taken, which kubelet needs",
    ):
        assert finding in message


def refused(text: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the error of a machine whose facts are `OUTPUT` and `text`."""
    facts = parse_facts(OUTPUT + text, 1000.0, 1001.0)
    monkeypatch.setattr(preflight, "gather_facts", lambda *_: facts)
    with pytest.raises(UserError) as error:
        PROVIDER.create(PROPS)
    assert PROVIDER.read("worker-1", PROPS).id == ""
    return str(error.value)


MEMBER = "member /etc/kubernetes/kubelet.conf names https://10.9.0.1:6443\n"


def test_create_of_a_node_without_an_owner_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    message = refused(MEMBER, monkeypatch)
    evidence = "/etc/kubernetes/kubelet.conf names https://10.9.0.1:6443"
    assert f"it is a node of a cluster that this stack did not create ({evidence})" in message
    assert "run `kubeadm reset` there" in message


@pytest.mark.parametrize("membership", ["", MEMBER])
def test_create_of_a_machine_of_another_stack_raises(membership: str, monkeypatch: pytest.MonkeyPatch) -> None:
    message = refused(f"{membership}owner acme/mlplatform/other fedcba9876543210\n", monkeypatch)
    assert "another stack (/etc/mlplatform/owner has acme/mlplatform/other fedcba9876543210): destroy that" in message
    assert "delete /etc/mlplatform/owner" in message


def test_create_of_a_machine_of_this_stack_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = parse_facts(f"{OUTPUT}{MEMBER}owner {OWNER}\nlistening 10250\n", 1000.0, 1001.0)
    monkeypatch.setattr(preflight, "gather_facts", lambda *_: facts)
    assert PROVIDER.create(PROPS).outs == PROPS | {"member": True}
    assert PROVIDER.read("worker-1", PROPS).outs == PROPS | {"member": True}


def test_create_of_a_machine_with_another_container_runtime_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    text = (
        "package docker-ce\npackage containerd.io\nservice k3s\n"
        "containerd_file /etc/containerd/config.toml\ncontainerd_file /usr/local/bin/containerd\n"
    )
    message = refused(text, monkeypatch)
    assert "it has docker-ce, containerd.io, which the installation of containerd would remove" in message
    assert "`apt-get purge docker-ce containerd.io`" in message
    assert "it has the services k3s of another cluster or container runtime" in message
    assert "another program installed /etc/containerd/config.toml, /usr/local/bin/containerd, which" in message


def test_create_of_machines_with_blocked_ports_names_ports_and_firewalls(monkeypatch: pytest.MonkeyPatch) -> None:
    plane = MACHINE | {"name": "plane", "role": "control-plane", "address": "10.0.0.11", "host": "192.0.2.11"}
    facts = {
        "worker-1": FACTS,
        "plane": replace(FACTS, hostname="plane", machine_id="4567", memory_mib=4000, firewalls=("ufw",)),
    }
    monkeypatch.setattr(preflight, "gather_facts", lambda machine, *_: facts[machine.name])
    requests: list[Any] = []

    def blocked(machines: Any, nodes: Any, network: str) -> dict[str, list[str]]:
        requests.append(([machine.name for machine in machines], nodes, network))
        return {"worker-1": ["6443/tcp of plane (10.0.0.11)", "6783/udp of plane (10.0.0.11)"], "plane": []}

    monkeypatch.setattr(preflight, "blocked_ports", blocked)
    with pytest.raises(UserError) as error:
        PROVIDER.create(PROPS | {"others": [plane]})
    assert requests == [(["worker-1", "plane"], set(), "weave")]
    assert (
        "it cannot reach ports that Kubernetes needs: 6443/tcp of plane (10.0.0.11), 6783/udp of plane (10.0.0.11): "
        "allow these ports between the machines in their firewalls (active: plane has ufw)"
    ) in str(error.value)
    assert PROVIDER.create(PROPS | {"machine": plane, "others": [MACHINE]}).id == "plane"


@pytest.mark.parametrize(
    ("own", "other", "finding"),
    [
        (replace(FACTS, virtual_address="free"), replace(FACTS, virtual_address="free"), ""),
        (replace(FACTS, virtual_address="used"), replace(FACTS, virtual_address="used"), "by another machine"),
        (replace(FACTS, virtual_address="used"), replace(FACTS, virtual_address="own"), "by plane-2"),
        # The cluster exists: keepalived on a node of it holds the address.
        (replace(FACTS, virtual_address="used"), replace(FACTS, virtual_address="own", is_node=True, owner=OWNER), ""),
    ],
    ids=["free", "used", "no-node", "node"],
)
def test_create_with_a_virtual_address_in_use_outside_of_the_cluster_raises(
    own: MachineFacts, other: MachineFacts, finding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    planes = [MACHINE | {"name": name, "role": "control-plane", "address": name} for name in ("plane-1", "plane-2")]
    facts = {
        "plane-1": replace(own, hostname="plane-1", memory_mib=4000),
        "plane-2": replace(other, hostname="plane-2", machine_id="4567", memory_mib=4000),
    }
    monkeypatch.setattr(preflight, "gather_facts", lambda machine, *_: facts[machine.name])
    monkeypatch.setattr(preflight, "blocked_ports", lambda *_: {})
    props = PROPS | {"machine": planes[0], "others": planes[1:], "virtual_address": "10.0.0.10"}
    if not finding:
        assert PROVIDER.create(props).id == "plane-1"
        return
    with pytest.raises(UserError, match=rf"10.0.0.10 \(infra:kubernetes.virtual_address\) is in use {finding}"):
        PROVIDER.create(props)


def test_diff_of_another_virtual_address_checks_again() -> None:
    assert PROVIDER.diff("worker-1", PROPS, PROPS | {"virtual_address": "10.0.0.10"}).replaces == ["machine"]


@pytest.mark.parametrize(
    ("role", "peer", "more"),
    [
        ("control-plane", "control-plane", {"6443/tcp", "10256/tcp", "2379/tcp", "2380/tcp"}),
        ("control-plane", "worker", {"6443/tcp"}),
        ("worker", "control-plane", {"10256/tcp"}),
        ("worker", "worker", set()),
    ],
)
def test_required_ports_of_etcd_and_kube_proxy_are_for_control_planes_only(
    role: Role, peer: Role, more: set[str]
) -> None:
    machine = ResolvedMachine.parse(MACHINE)
    assert set(required_ports(replace(machine, role=role), replace(machine, role=peer), "")) == {"10250/tcp", *more}
