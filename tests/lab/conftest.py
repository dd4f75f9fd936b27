"""One lab for all tests: three machines, a cluster, brought up from nothing and taken down at the end."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from tests.harness import CHECKOUT, Stack, copy_of_checkout, thrown_away

from .cluster import Cluster

UP_SECONDS = 1200
SUBNETS = iter(f"10.{20 + number}.77" for number in range(1, 30))
"""First three numbers of the addresses of each stack of these tests."""


@pytest.fixture(scope="session", autouse=True)
def _what_it_takes() -> None:
    from settings import cache_directory

    assert os.geteuid() == 0, "these tests make machines inside this computer, which takes root"
    assert (cache_directory() / "bundle" / "bundle.json").is_file(), "run `make bundle` first"


@pytest.fixture(scope="session")
def make_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Stack]]:
    """Stacks with the settings of `lab`, each in a network of its own."""
    with thrown_away(copy_of_checkout(tmp_path_factory.mktemp("checkout"))) as made:

        def make(name: str) -> Stack:
            settings = yaml.safe_load((CHECKOUT / "Pulumi.lab.yaml").read_text())["config"]
            network = next(SUBNETS)
            settings["infra:lab"]["subnet"] = f"{network}.0/24"
            settings["platform:load_balancer"]["addresses"] = f"{network}.200-{network}.219"
            # What runs in the cluster has tests of its own, in tests/cluster.
            del settings["workloads:pipelines"], settings["platform:blobs"]
            return made(f"test-{name}", tmp_path_factory.mktemp(name), settings, up_seconds=UP_SECONDS)

        yield make


@pytest.fixture(scope="session")
def lab(make_lab: Callable[[str], Stack]) -> Stack:
    stack = make_lab("lab")
    stack.up()
    return stack


@pytest.fixture(scope="session")
def cluster(lab: Stack, tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    return cluster_of(lab, tmp_path_factory.mktemp("access"))


def cluster_of(stack: Stack, folder: Path) -> Cluster:
    from tools.access import kubectl_program

    file = folder / "kubeconfig"
    file.touch(mode=0o600)
    file.write_text(stack.outputs("--show-secrets")["kubeconfig"])
    return Cluster(file, kubectl_program())
