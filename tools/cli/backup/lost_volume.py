"""A new volume for MLflow in a cluster, where the machine that had its volume is lost."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from mlplatform.mlflow import NAMESPACE
from mlplatform.mlflow_pod import NAME

from infra.retry import poll
from tools.cli.backup.errors import BackupError
from tools.cli.cluster_access import ROLLOUT_SECONDS, kubectl_output

IN_NAMESPACE = ("--namespace", NAMESPACE)
SELECTED_NODE = "volume.kubernetes.io/selected-node"
"""Annotation of a claim: the node that the scheduler selected for its first pod."""
POLL_SECONDS = 2
BINDINGS = ("pv.kubernetes.io/", "volume.kubernetes.io/", "volume.beta.kubernetes.io/")
"""Beginnings of the annotations that bind a claim to its volume and to its node."""


def replace_lost_volume(kubeconfig: str) -> None:
    """Replace the volume of MLflow by an empty one on any node, and return when MLflow is ready.

    Raises:
        BackupError: MLflow is ready, so its volume is not lost; its claim is missing; or MLflow did not become ready on
            the new volume.
    """
    if _is_ready(kubeconfig):
        raise BackupError("MLflow is ready, so its volume is not lost; remove --new-volume")
    claim = _claim(kubeconfig)
    if claim is None:
        raise BackupError(
            "the claim of MLflow's volume is missing, as after an interrupted --new-volume. Run `make up`, which "
            "creates it, and then `make restore` without --new-volume"
        )
    _replace_claim(kubeconfig, claim)

    def ready() -> bool | None:
        # The cluster notices only after half a minute that a node is lost. Until then the scheduler may select it.
        if _selected_node_is_lost(kubeconfig):
            _replace_claim(kubeconfig, claim)
        return _is_ready(kubeconfig) or None

    if poll(ready, timeout=ROLLOUT_SECONDS, interval=POLL_SECONDS) is None:
        raise BackupError(
            f"MLflow is not ready on its new volume after {ROLLOUT_SECONDS} s; "
            f"see `kubectl describe pods --namespace {NAMESPACE}`"
        )


def _is_ready(kubeconfig: str) -> bool:
    return bool(_read(kubeconfig, "deployment", NAME, *IN_NAMESPACE)["status"].get("readyReplicas"))


def _claim(kubeconfig: str) -> dict[str, Any] | None:
    """Return the claim of MLflow's volume, None if it does not exist."""
    command = ["get", "pvc", NAME, "--ignore-not-found", "--output", "json", *IN_NAMESPACE]
    found = kubectl_output(kubeconfig, command)
    return dict(json.loads(found)) if found else None


def _selected_node_is_lost(kubeconfig: str) -> bool:
    """Return True if the claim belongs to a node that is not ready or does not exist."""
    claim = _claim(kubeconfig)
    selected = claim["metadata"].get("annotations", {}).get(SELECTED_NODE) if claim else None
    return selected is not None and selected not in _ready_nodes(kubeconfig)


def _ready_nodes(kubeconfig: str) -> set[str]:
    return {
        node["metadata"]["name"]
        for node in _read(kubeconfig, "nodes")["items"]
        for condition in node["status"]["conditions"]
        if condition["type"] == "Ready" and condition["status"] == "True"
    }


def _replace_claim(kubeconfig: str, claim: Mapping[str, Any]) -> None:
    kubectl_output(kubeconfig, ["delete", "pvc", NAME, "--ignore-not-found", "--wait=false", *IN_NAMESPACE])
    # The pod of a machine that is off never ends by itself, and the claim stays while a pod uses it.
    delete_pods = ["delete", "pods", "--all", "--force", "--grace-period=0", *IN_NAMESPACE]
    kubectl_output(kubeconfig, delete_pods)
    kubectl_output(kubeconfig, ["wait", "--for=delete", f"pvc/{NAME}", f"--timeout={ROLLOUT_SECONDS}s", *IN_NAMESPACE])
    kubectl_output(kubeconfig, ["create", "--filename", "-"], json.dumps(unbound_claim(claim)))
    # A pod that the scheduler refused for the missing claim waits for five minutes. A new one does not.
    kubectl_output(kubeconfig, delete_pods)


def _read(kubeconfig: str, *objects: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(kubectl_output(kubeconfig, ["get", *objects, "--output", "json"]))
    return read


def unbound_claim(claim: Mapping[str, Any]) -> dict[str, Any]:
    """Return the manifest of a PersistentVolumeClaim without the volume that it is bound to."""
    metadata, annotations = claim["metadata"], claim["metadata"].get("annotations", {})
    return {
        "apiVersion": claim["apiVersion"],
        "kind": claim["kind"],
        "metadata": {
            **{name: metadata[name] for name in ("name", "namespace", "labels") if name in metadata},
            "annotations": {name: text for name, text in annotations.items() if not name.startswith(BINDINGS)},
        },
        "spec": {name: value for name, value in claim["spec"].items() if name != "volumeName"},
    }
