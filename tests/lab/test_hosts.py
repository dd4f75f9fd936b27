"""Three existing machines that accept SSH connections only from their bastion."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.dynamic_provider import UserError
from infra.ssh import connected
from tests.harness import CHECKOUT, changes, copy_of_checkout, isolated_environment, temporary_stacks

from .cluster import cluster_at, pod, server, service, until
from .site import BASTION, Site, existing_registry, site_of
from .stacks import UP_SECONDS

NAMES = (BASTION, "alpha", "beta", "gamma")
READY = {"alpha": True, "beta": True, "gamma": True}


@pytest.fixture
def site() -> Iterator[Site]:
    with site_of(NAMES) as site:
        site.close()
        (control_plane, *_) = site.machines
        with pytest.raises(UserError), connected(site.login(control_plane)):
            pass
        yield site


@pytest.fixture
def registry(site: Site, tmp_path: Path) -> Iterator[dict[str, Any]]:
    with existing_registry(site.network.gateway, tmp_path / "registry") as settings:
        yield settings


def test_example_creates_a_cluster_and_destroy_resets_the_machines(
    site: Site, registry: dict[str, Any], tmp_path: Path
) -> None:
    example = shutil.copytree(CHECKOUT / "examples/three-hosts", tmp_path / "three-hosts")
    (example / ".venv").symlink_to((CHECKOUT / ".venv").resolve())
    settings: dict[str, Any] = {
        "hosts": site.hosts(),
        "kubernetes": {"packages": "bundle"},
        "registry": registry,
        "platform": {"weave_fast_datapath": False},
    }
    config = {f"three-hosts:{name}": value for name, value in settings.items()}
    (example / "Pulumi.mine.yaml").write_text(yaml.safe_dump({"config": config}))
    environment = isolated_environment(tmp_path)

    def pulumi(*arguments: str) -> str:
        result = subprocess.run(
            ["pulumi", *arguments, "--stack", "mine", "--non-interactive", "--color=never"],
            cwd=example,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=UP_SECONDS,
        )
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    pulumi("stack", "init")
    pulumi("up", "--yes", "--skip-preview")
    try:
        outputs = json.loads(pulumi("stack", "output", "--json", "--show-secrets"))
        cluster = cluster_at(outputs["kubeconfig"], tmp_path)
        until(lambda: cluster.nodes_ready() == READY, what="all nodes to be Ready")
        assert [node["name"] for node in outputs["nodes"]] == list(READY)
        assert set(changes(pulumi("up", "--yes", "--skip-preview"))) == {"unchanged"}
    finally:
        pulumi("destroy", "--yes")
    for name in READY:
        assert site.run(name, "test -e /etc/kubernetes/kubelet.conf && echo yes || echo no") == "no\n"


def test_stack_onprem_with_flannel_creates_a_platform(site: Site, registry: dict[str, Any], tmp_path: Path) -> None:
    settings = yaml.safe_load((CHECKOUT / "Pulumi.onprem.yaml").read_text())["config"]
    settings |= {
        "infra:hosts": site.hosts(),
        "infra:kubernetes": {"packages": "bundle"},
        "platform:registry": registry,
        "platform:network": "flannel",
        "workloads:pipelines": {"iris-local": {}},
    }
    (tmp_path / "checkout").mkdir()
    with temporary_stacks(copy_of_checkout(tmp_path / "checkout")) as make:
        stack = make(site.network.name("onprem"), tmp_path / "scratch", settings, up_seconds=UP_SECONDS)
        stack.up()
        outputs = stack.outputs("--show-secrets")
        cluster = cluster_at(outputs["kubeconfig"], tmp_path)
        assert cluster.nodes_ready() == READY
        assert outputs["iris_local"]["state"] == "SUCCEEDED"
        assert outputs["storage_class"] == "openebs-hostpath"
        assert outputs["network"] == {"name": "flannel", "encrypted": False, "network_policies": False}
        space = cluster.namespace("across")
        cluster.apply(
            server("here", space, "beta"), service("here", space, "ClusterIP"), pod("there", space, node="gamma")
        )
        for name in ("here", "there"):
            cluster.wait("--for=condition=Ready", f"pod/{name}", "-n", space)
        request = ("curl", "-s", "-m", "5", f"http://here.{space}.svc.cluster.local/")
        until(
            lambda: cluster.execute("there", space, *request, check=False) == "here\n",
            seconds=30,
            what="a response from a pod on another machine",
        )
    for name in READY:
        links = site.run(name, "ip -o link")
        assert "flannel" not in links, links
        assert "cni0" not in links, links
