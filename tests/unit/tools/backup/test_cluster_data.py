"""Copies of the data of MLflow's pod, with a kubectl that runs the pod's programs in a folder."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tools.cli.backup.contents.cluster_data import copy_cluster_data, has_cluster_data, replace_cluster_data
from tools.cli.cluster_access import AccessError

KUBECONFIG = "kubeconfig of a cluster"
KUBECTL = """#!/bin/sh
echo "$@" >> {folder}/calls
while [ $# -gt 0 ]; do
  if [ "$1" = -- ]; then shift 2; cd {folder}/volume && exec {python} "$@"; fi
  shift
done
"""


@pytest.fixture
def volume(tmp_path: Path, install_program: Callable[[str, str], None]) -> Path:
    """Return the volume of the pod, with one run and one file."""
    install_program("kubectl", KUBECTL.format(folder=tmp_path, python=sys.executable))
    folder = tmp_path / "volume"
    (folder / "artifacts" / "1").mkdir(parents=True)
    (folder / "artifacts" / "1" / "model.onnx").write_text("as it was")
    execute(folder, "create table runs (id text)", "create table registered_models (name text)", insert("r1"))
    return folder


def insert(run: str) -> str:
    return f"insert into runs values ('{run}')"


def execute(folder: Path, *statements: str) -> list[tuple[str]]:
    database = sqlite3.connect(folder / "mlflow.db")
    try:
        for statement in statements:
            rows = database.execute(statement).fetchall()
        database.commit()
        return rows
    finally:
        database.close()


def test_replaced_data_are_those_of_the_copy_and_the_others_stay_beside(volume: Path, tmp_path: Path) -> None:
    backup = tmp_path / "backup"
    backup.mkdir()
    copy_cluster_data(KUBECONFIG, backup)
    execute(volume, insert("r2"))
    (volume / "artifacts" / "1" / "model.onnx").write_text("changed")
    (volume / "basic_auth.db").write_text("users")
    replace_cluster_data(KUBECONFIG, backup)
    assert execute(volume, "select id from runs") == [("r1",)]
    assert (volume / "artifacts" / "1" / "model.onnx").read_text() == "as it was"
    assert (volume / "basic_auth.db").read_text() == "users"
    (before,) = volume.glob("before-restore-*")
    assert execute(before, "select id from runs") == [("r1",), ("r2",)]
    assert (before / "artifacts" / "1" / "model.onnx").read_text() == "changed"
    assert sorted(each.name for each in volume.iterdir()) == ["artifacts", "basic_auth.db", before.name, "mlflow.db"]
    assert "rollout restart --namespace mlplatform-tracking deployment/mlflow" in (tmp_path / "calls").read_text()


def test_has_cluster_data_counts_runs(volume: Path) -> None:
    assert has_cluster_data(KUBECONFIG)
    execute(volume, "delete from runs")
    assert not has_cluster_data(KUBECONFIG)


def test_copy_of_a_broken_database_raises_and_keeps_the_volume(volume: Path, tmp_path: Path) -> None:
    (volume / "mlflow.db").write_text("no database" * 100)
    with pytest.raises(AccessError, match="file is not a database"):
        copy_cluster_data(KUBECONFIG, tmp_path)
    assert sorted(each.name for each in volume.iterdir()) == ["artifacts", "mlflow.db"]
