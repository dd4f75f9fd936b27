"""A new volume for MLflow, with a kubectl that answers with a fixed Deployment and claim."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tools.cli.backup import lost_volume
from tools.cli.backup.errors import BackupError
from tools.cli.backup.lost_volume import SELECTED_NODE, replace_lost_volume

KUBECTL = """#!/bin/sh
cd {folder}
echo "$@" >> calls
case "$1 $2" in
  "get deployment") cat deployment ;;
  "get nodes") cat nodes ;;
  "get pvc") cat claim ;;
  "create --filename") cat > created; {scheduler} ;;
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


READY = '{"status": {"readyReplicas": 1}}'


def node(name: str, *, ready: bool) -> dict[str, Any]:
    conditions = [{"type": "MemoryPressure", "status": "False"}, {"type": "Ready", "status": str(ready)}]
    return {"metadata": {"name": name}, "status": {"conditions": conditions}}


@pytest.fixture
def install(tmp_path: Path, install_program: Callable[[str, str], None]) -> Callable[[str], Path]:
    def install(scheduler: str) -> Path:
        """Install a kubectl that runs the command `scheduler` after each created claim; return its folder."""
        install_program("kubectl", KUBECTL.format(folder=tmp_path, scheduler=scheduler))
        (tmp_path / "claim").write_text(json.dumps(CLAIM))
        (tmp_path / "ready").write_text(READY)
        (tmp_path / "deployment").write_text('{"status": {"unavailableReplicas": 1}}')
        nodes = [node("worker-1", ready=True), node("worker-2", ready=False)]
        (tmp_path / "nodes").write_text(json.dumps({"items": nodes}))
        on_worker_1 = CLAIM | {"metadata": CLAIM["metadata"] | {"annotations": {SELECTED_NODE: "worker-1"}}}
        (tmp_path / "claim on worker-1").write_text(json.dumps(on_worker_1))
        return tmp_path

    return install


ON_WORKER_1 = "cp 'claim on worker-1' claim; cp ready deployment"
REPLACED = ["delete", "delete", "wait", "create", "delete"]


def verbs(folder: Path) -> list[str]:
    """Return the verbs of the commands that kubectl got, except `get`."""
    calls = [line.split()[0] for line in (folder / "calls").read_text().splitlines()]
    return [verb for verb in calls if verb != "get"]


def test_lost_volume_is_replaced_by_an_unbound_claim(install: Callable[[str], Path]) -> None:
    folder = install(ON_WORKER_1)
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
    assert verbs(folder) == REPLACED


def test_claim_on_a_node_that_is_lost_is_replaced_again(install: Callable[[str], Path]) -> None:
    folder = install(f"if [ -e selected ]; then {ON_WORKER_1}; fi; touch selected")
    replace_lost_volume("kubeconfig")
    assert verbs(folder) == [*REPLACED, *REPLACED]


def test_lost_volume_of_a_ready_mlflow_is_refused(install: Callable[[str], Path]) -> None:
    folder = install("")
    (folder / "deployment").write_text(READY)
    with pytest.raises(BackupError, match="MLflow is ready, so its volume is not lost"):
        replace_lost_volume("kubeconfig")
    assert verbs(folder) == []


def test_mlflow_that_does_not_become_ready_is_an_error(
    install: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    install("cp 'claim on worker-1' claim")
    monkeypatch.setattr(lost_volume, "ROLLOUT_SECONDS", 0)
    with pytest.raises(BackupError, match="MLflow is not ready on its new volume"):
        replace_lost_volume("kubeconfig")


def test_repetition_of_an_interrupted_replacement_names_the_command_that_creates_the_claim(
    install: Callable[[str], Path],
) -> None:
    folder = install("")
    (folder / "claim").write_text("")
    with pytest.raises(BackupError, match=r"claim of MLflow's volume is missing, .* Run `make up`, which creates it"):
        replace_lost_volume("kubeconfig")
    assert "get pvc mlflow --ignore-not-found" in (folder / "calls").read_text()
    assert verbs(folder) == []
