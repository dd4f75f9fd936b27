"""Two existing machines with a cluster of one stack, and a second stack whose settings name the same machines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.harness import CHECKOUT, copy_of_checkout, temporary_stacks

from .cluster import cluster_at
from .site import Site, existing_registry, site_of
from .stacks import UP_SECONDS

NAMES = ("alpha", "beta")
OWNER = "/etc/mlplatform/owner"
KUBELET = "/etc/kubernetes/kubelet.conf"
PODMAN = "/etc/cni/net.d/87-podman-bridge.conflist"


@pytest.fixture
def site() -> Iterator[Site]:
    with site_of(NAMES) as site:
        yield site


@pytest.fixture
def settings(site: Site, tmp_path: Path) -> Iterator[dict[str, Any]]:
    with existing_registry(site.network.gateway, tmp_path / "registry") as registry:
        settings = yaml.safe_load((CHECKOUT / "Pulumi.onprem.yaml").read_text())["config"]
        yield {
            **{name: value for name, value in settings.items() if not name.startswith("workloads:")},
            "infra:hosts": site.hosts(),
            "infra:kubernetes": {"packages": "bundle"},
            "platform:registry": registry,
            "platform:pipelines": "job",
        }


def exists(site: Site, name: str, file: str) -> bool:
    return site.run(name, f"sudo test -e {file} && echo yes || echo no") == "yes\n"


def test_machines_of_one_stack_are_refused_by_another_and_survive_its_destroy(
    site: Site, settings: dict[str, Any], tmp_path: Path
) -> None:
    for name in NAMES:
        site.run(name, f"sudo mkdir -p /etc/cni/net.d && echo {{}} | sudo tee {PODMAN} >/dev/null")
        site.run(name, "sudo iptables -t nat -N CNI-podman && sudo iptables -t nat -A POSTROUTING -j CNI-podman")
    (tmp_path / "checkout").mkdir()
    with temporary_stacks(copy_of_checkout(tmp_path / "checkout")) as make:
        first = make(site.network.name("first"), tmp_path / "first", settings, up_seconds=UP_SECONDS)
        first.up()
        cluster = cluster_at(first.outputs("--show-secrets")["kubeconfig"], tmp_path)
        owner = site.run("alpha", f"cat {OWNER}").strip()
        assert first.name in owner
        assert site.run("beta", f"cat {OWNER}").strip() == owner

        second = make(site.network.name("second"), tmp_path / "second", settings, up_seconds=UP_SECONDS)

        def refusal() -> str:
            code, output = second.pulumi("up", "--yes", "--skip-preview")
            assert code != 0, output
            return " ".join(output.split())

        assert f"it belongs to another stack ({OWNER} has {owner}): destroy that stack" in refusal()
        site.run("beta", f"sudo rm {OWNER}")
        output = refusal()
        assert f"a cluster that this stack did not create ({KUBELET} names https://" in output
        code, output = second.pulumi("destroy", "--yes")
        assert code == 0, output
        assert cluster.nodes_ready() == dict.fromkeys(NAMES, True)

        code, output = first.pulumi("destroy", "--yes")
        assert code == 0, output
        assert f"beta is left alone: {OWNER} has no owner" in " ".join(output.split())
    assert exists(site, "beta", KUBELET)
    assert not exists(site, "alpha", KUBELET)
    assert not exists(site, "alpha", OWNER)
    assert not exists(site, "alpha", "/etc/cni/net.d/10-weave.conflist")
    assert exists(site, "alpha", PODMAN)
    rules = site.run("alpha", "sudo iptables-save")
    assert "-A POSTROUTING -j CNI-podman" in rules
    assert "KUBE-" not in rules
    assert "WEAVE" not in rules
