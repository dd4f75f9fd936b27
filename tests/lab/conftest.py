"""A lab that all tests share: three machines with a cluster, created first and destroyed at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.harness import Stack

from .cluster import Cluster, cluster_at
from .stacks import lab_stacks


@pytest.fixture(scope="session")
def make_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Stack]]:
    """Return a function that creates labs without workloads, which tests/cluster tests."""
    with lab_stacks(tmp_path_factory) as create:

        def make(name: str) -> Stack:
            stack = create(name)
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
