"""Replicated stores of MLflow through the death of a machine: no acknowledged write is lost."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mlplatform.mlflow import NAMESPACE as TRACKING
from mlplatform.stores.postgresql import MEMBERS
from mlplatform.stores.postgresql import NAME as DATABASE
from mlplatform.stores.replicated_stores import NAMESPACE as STORES
from mlplatform.stores.seaweedfs import NAME as OBJECTS

from tests.harness import Stack
from tests.waiting import until
from tools.cli.backup.contents.cluster_data import copy_cluster_data, has_cluster_data, replace_cluster_data

from ..cluster import Cluster
from ..conftest import cluster_of
from ..stacks import lose
from .mlflow_writer import Writer, mlflow_writer

RECOVERY_SECONDS = 300
PATRONI = ("patronictl", "-c", "/etc/stores/patroni.yaml")


@pytest.fixture(scope="module")
def stack(make_lab: Callable[[str], Stack]) -> Stack:
    stack = make_lab("stores")
    stack.settings["platform:stores"] = "replicated"
    del stack.settings["platform:monitoring"]
    start = time.monotonic()
    stack.up()
    print(f"up: {time.monotonic() - start:.0f} s")
    return stack


@pytest.fixture(scope="module")
def cluster(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    return cluster_of(stack, tmp_path_factory.mktemp("access"))


@pytest.fixture
def writer(stack: Stack) -> Iterator[Writer]:
    with mlflow_writer(stack) as writer:
        yield writer


def node_of(cluster: Cluster, pod: str, namespace: str = STORES) -> str:
    return str(cluster.get("pod", pod, "-n", namespace)["spec"]["nodeName"])


def leader(cluster: Cluster) -> str:
    """Return the pod of the leader of PostgreSQL."""
    annotations = cluster.get("endpoints", DATABASE, "-n", STORES)["metadata"]["annotations"]
    return str(annotations["leader"])


def mlflow_node(cluster: Cluster) -> str:
    pods = cluster.get("pods", "-n", TRACKING)["items"]
    running = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
    return str(running[0]["spec"].get("nodeName", ""))


def switch_leader(cluster: Cluster) -> None:
    before = leader(cluster)
    cluster.execute(before, STORES, *PATRONI, "switchover", "--force", check=False)
    until(lambda: leader(cluster) != before, what="a new leader")


def move_to_one_worker(cluster: Cluster) -> str:
    """Bring the leader of PostgreSQL and MLflow to the same worker, and return the worker."""
    while node_of(cluster, leader(cluster)) == "control-plane":
        switch_leader(cluster)
    worker = node_of(cluster, leader(cluster))
    other = {"worker-1": "worker-2", "worker-2": "worker-1"}[worker]
    cluster.kubectl("cordon", other)
    cluster.kubectl("rollout", "restart", "deployment/mlflow", "-n", TRACKING)
    cluster.kubectl("rollout", "status", "deployment/mlflow", "-n", TRACKING, "--timeout=170s")
    cluster.kubectl("uncordon", other)
    assert mlflow_node(cluster) == worker
    return worker


def members(cluster: Cluster) -> int:
    """Return the number of members of PostgreSQL that have the leader's data."""
    listed = cluster.execute(leader(cluster), STORES, *PATRONI, "list", "--format", "tsv", check=False)
    return listed.count("running") + listed.count("streaming")


def test_members_that_start_again_return_with_their_data(cluster: Cluster, writer: Writer) -> None:
    until(lambda: len(writer.times) > 5, what="the first writes")
    for number in range(MEMBERS):
        cluster.kubectl("delete", "pods", f"{DATABASE}-{number}", f"{OBJECTS}-{number}", "-n", STORES)
        cluster.wait("--for=condition=Ready", "pods", "--all", "-n", STORES, seconds=170)
    until(lambda: members(cluster) == MEMBERS, what="the members")
    writer.stop()
    until(lambda: not writer.lost(), seconds=60, what="reading all acknowledged writes")


def test_death_of_the_machine_of_all_leaders_loses_no_write(
    stack: Stack, cluster: Cluster, writer: Writer, tmp_path: Path
) -> None:
    worker = move_to_one_worker(cluster)
    until(lambda: len(writer.times) > 20, what="the first writes")
    died = time.time()
    lose(stack, worker)
    until(lambda: [each for each in writer.times if each > died + 20], seconds=RECOVERY_SECONDS, what="a write")
    first = min(each for each in writer.times if each > died + 20) - died
    time.sleep(10)
    writer.stop()
    until(lambda: not writer.lost(), seconds=60, what="reading all acknowledged writes")
    print(f"{len(writer.runs)} runs, {len(writer.files)} files, {writer.failures} failures, away for {first:.0f} s")
    assert node_of(cluster, leader(cluster)) != worker

    stack.up()  # creates the machine again, with an empty disk
    for number in range(MEMBERS):
        for name in (DATABASE, OBJECTS):
            if node_of(cluster, f"{name}-{number}") == worker:
                cluster.kubectl("delete", "pvc", f"data-{name}-{number}", "-n", STORES, "--wait=false")
                cluster.kubectl("delete", "pod", f"{name}-{number}", "-n", STORES, "--force", "--grace-period=0")
    cluster.wait("--for=condition=Ready", "pods", "--all", "-n", STORES, seconds=300)
    until(lambda: members(cluster) == MEMBERS, what="the return of the member")
    assert not writer.lost()


def test_restored_data_of_replicated_stores_are_those_of_the_backup(
    stack: Stack, cluster: Cluster, writer: Writer, tmp_path: Path
) -> None:
    until(lambda: len(writer.times) > 3, what="the first writes")
    writer.stop()
    kubeconfig = cluster.kubeconfig.read_text()
    copy_cluster_data(kubeconfig, tmp_path)
    assert has_cluster_data(kubeconfig)
    saved = len(writer.runs)
    writer.write()
    replace_cluster_data(kubeconfig, tmp_path)
    until(lambda: len(writer.lost()) == 1, what="the data of the backup")
    assert writer.lost() == [writer.runs[saved]]
