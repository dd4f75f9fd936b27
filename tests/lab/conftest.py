"""One lab for all tests: three machines, a cluster, brought up from nothing and taken down at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.harness import Stack

from .cluster import Cluster, cluster_at
from .stacks import lab_stacks


@pytest.fixture(scope="session")
def make_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Stack]]:
    """Labs without workloads: those have tests of their own, in tests/cluster."""
    with lab_stacks(tmp_path_factory) as made:

        def make(name: str) -> Stack:
            stack = made(name)
            del stack.settings["workloads:pipelines"], stack.settings["platform:blobs"]
            return stack

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
    return cluster_at(stack.outputs("--show-secrets")["kubeconfig"], folder)
