"""Inputs of the commands that change machines: the owner, and the proxy of the site."""

from __future__ import annotations

import pulumi
import pytest

from infra.kubeadm import KubeadmCluster
from infra.machine import Machine, Role
from settings.infra import KubernetesSettings, ProxySettings
from tests.preview.graph import Graph, run

PROXY = ProxySettings(https="http://proxy.test:3128", no_proxy=[".example.com"])
DOWNLOADS = ("system", "containerd", "kubernetes")
"""Steps that download packages or images."""


def cluster(proxy: ProxySettings | None) -> Graph:
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
        KubeadmCluster("lab", machines=machines, settings=KubernetesSettings(), proxy=proxy)

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
