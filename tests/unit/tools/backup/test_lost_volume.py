"""A new volume for MLflow, with a kubectl that answers with a fixed Deployment and claim."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tools.cli.backup.errors import BackupError
from tools.cli.backup.lost_volume import replace_lost_volume

KUBECTL = """#!/bin/sh
shift 2
echo "$@" >> {folder}/calls
case "$1 $2" in
  "get deployment") cat {folder}/deployment ;;
  "get pvc") cat {folder}/claim ;;
  "create --filename") cat > {folder}/created ;;
esac
"""
CLAIM: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "PersistentVolumeClaim",
    "metadata": {
        "name": "mlflow",
        "namespace": "mlplatform-tracking",
        "uid": "0f6629e8",
        "resourceVersion": "1015",
        "labels": {"app.kubernetes.io/name": "mlflow"},
        "annotations": {
            "pv.kubernetes.io/bind-completed": "yes",
            "volume.kubernetes.io/selected-node": "worker-2",
            "pulumi.com/autonamed": "true",
        },
    },
    "spec": {"storageClassName": "openebs-hostpath", "volumeName": "pvc-0f6629e8"},
    "status": {"phase": "Bound"},
}


@pytest.fixture
def folder(tmp_path: Path, install_program: Callable[[str, str], None]) -> Path:
    install_program("kubectl", KUBECTL.format(folder=tmp_path))
    (tmp_path / "claim").write_text(json.dumps(CLAIM))
    return tmp_path


def test_lost_volume_is_replaced_by_an_unbound_claim(folder: Path) -> None:
    (folder / "deployment").write_text('{"status": {"unavailableReplicas": 1}}')
    replace_lost_volume("kubeconfig")
    assert json.loads((folder / "created").read_text()) == {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": "mlflow",
            "namespace": "mlplatform-tracking",
            "labels": {"app.kubernetes.io/name": "mlflow"},
            "annotations": {"pulumi.com/autonamed": "true"},
        },
        "spec": {"storageClassName": "openebs-hostpath"},
    }
    verbs = [line.split()[0] for line in (folder / "calls").read_text().splitlines()]
    assert verbs == ["get", "get", "delete", "delete", "wait", "create", "delete", "rollout"]


def test_lost_volume_of_a_ready_mlflow_is_refused(folder: Path) -> None:
    (folder / "deployment").write_text('{"status": {"readyReplicas": 1}}')
    with pytest.raises(BackupError, match="MLflow is ready, so its volume is not lost"):
        replace_lost_volume("kubeconfig")
    assert "delete" not in (folder / "calls").read_text()
