"""Inputs of the commands that change machines: the owner, and the proxy of the site."""

from __future__ import annotations

import json

import pulumi
import pytest

from infra.kubeadm import KubeadmCluster
from infra.machine import Machine, Role
from settings.infra import KubernetesSettings, ProxySettings
from tests.preview.graph import Graph, run

PROXY = ProxySettings(https="http://proxy.test:3128", no_proxy=[".example.com"])
DOWNLOADS = ("system", "containerd", "mirrors", "kubernetes")
"""Steps that download packages or images."""


def cluster(proxy: ProxySettings | None, planes: int = 1, virtual_address: str | None = None) -> Graph:
    def machine(name: str, role: Role, address: str) -> Machine:
        key = pulumi.Output.secret("key")
        return Machine(
            name=name,
            role=role,
            public_address=address,
            private_address=address,
            user="me",
            key=key,
            host_key="ssh-ed25519 AAAA",
        )

    def program() -> None:
        machines = [machine("plane", "control-plane", "192.0.2.1"), machine("worker-1", "worker", "192.0.2.2")]
        for number in range(2, planes + 1):
            machines.append(machine(f"plane-{number}", "control-plane", f"192.0.2.1{number}"))
        KubeadmCluster(
            "lab", machines=machines, settings=KubernetesSettings(), proxy=proxy, virtual_address=virtual_address
        )

    return run(program, preview=True)[0]


def test_every_script_that_changes_a_machine_has_the_owner() -> None:
    commands = {name: inputs for name, inputs in cluster(None).of("Command").items() if "bash -s" in inputs["create"]}
    assert len(commands) == 2 * len(("owner", *DOWNLOADS)) + 1
    for name, inputs in commands.items():
        assert "OWNER=lab-owner" in inputs["create"], name
        assert "proxy" not in inputs["create"].lower(), name


@pytest.mark.parametrize("step", DOWNLOADS)
def test_steps_with_downloads_use_the_proxy_except_for_the_cluster(step: str) -> None:
    create = cluster(PROXY).of("Command")[f"worker-1-{step}"]["create"]
    direct = "localhost,127.0.0.1,.svc,.cluster.local,10.32.0.0/16,10.96.0.0/16,192.0.2.1,192.0.2.2,.example.com"
    for variable in ("HTTPS_PROXY=http://proxy.test:3128", f"NO_PROXY={direct}"):
        name, _, value = variable.partition("=")
        assert f"{name}={value}" in create
        assert f"{name.lower()}={value}" in create


def test_kubeadm_init_does_not_use_the_proxy() -> None:
    # kubeadm would copy the variables into the pods of the control plane.
    assert "proxy" not in cluster(PROXY).of("Command")["plane-init"]["create"].lower()


ADDRESS = "192.0.2.9"


def test_cluster_with_one_control_plane_has_no_step_and_no_input_of_several() -> None:
    commands = cluster(None).of("Command")
    steps = {name.removeprefix("plane-") for name in commands if name.startswith("plane-")}
    assert steps == {"owner", "reset", *DOWNLOADS, "init", "join", "upgrade", "reconcile"}
    for name, inputs in commands.items():
        text = f"{inputs['create']} {inputs.get('stdin')}" if "bash -s" not in inputs["create"] else inputs["create"]
        for word in ("ENDPOINT=", '"ENDPOINT"', "MORE_PACKAGES", "other_control_planes", "virtual_address"):
            assert word not in text, (name, word)


def test_cluster_with_three_control_planes_uses_one_address_everywhere() -> None:
    commands = cluster(PROXY, planes=3, virtual_address=ADDRESS).of("Command")
    names = f"'192.0.2.1 {ADDRESS} 192.0.2.12 192.0.2.13'"
    assert f"NAMES={names} ENDPOINT={ADDRESS} TAINTED=true" in commands["plane-init"]["create"]
    for number in (2, 3):
        request = json.loads(commands[f"plane-{number}-join"]["stdin"]["value"])
        assert request["environment"]["ENDPOINT"] == ADDRESS
        assert request["environment"]["ADDRESS"] == f"192.0.2.1{number}"
        assert [other["name"] for other in request["other_control_planes"]] == ["plane-2", "plane-3"]
        assert "MORE_PACKAGES=keepalived" in commands[f"plane-{number}-system"]["create"]
        assert json.loads(commands[f"plane-{number}-address"]["stdin"]["value"])["virtual_address"] == ADDRESS
    assert "MORE_PACKAGES" not in commands["worker-1-system"]["create"]
    assert f",{ADDRESS},.example.com" in commands["worker-1-system"]["create"]
    assert ADDRESS in commands["kubeconfig"]["triggers"]


def test_several_control_planes_join_one_after_the_other_before_the_workers() -> None:
    graph = cluster(None, planes=5, virtual_address=ADDRESS)
    order = [name for _, name in graph.resources if name.endswith(("-init", "-join", "-upgrade", "-reconcile"))]
    steps = [
        f"plane{number}-{step}" for number in ("", "-2", "-3", "-4", "-5") for step in ("join", "upgrade", "reconcile")
    ]
    assert order == ["plane-init", *steps, "worker-1-join"]


@pytest.mark.parametrize(("planes", "reason"), [(2, "2 have role: control-plane"), (3, "need one address")])
def test_cluster_without_a_possible_majority_or_address_is_refused(planes: int, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        cluster(None, planes=planes)
