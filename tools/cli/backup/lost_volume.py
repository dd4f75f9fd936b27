"""A new volume for MLflow in a cluster, where the machine that had its volume is lost."""

from __future__ import annotations

import json
from typing import Any

from mlplatform.mlflow import NAMESPACE
from mlplatform.mlflow_pod import NAME

from tools.cli.backup.errors import BackupError
from tools.cli.cluster_access import ROLLOUT_SECONDS, kubectl_output

IN_NAMESPACE = ("--namespace", NAMESPACE)
BINDINGS = ("pv.kubernetes.io/", "volume.kubernetes.io/", "volume.beta.kubernetes.io/")
"""Beginnings of the annotations that bind a claim to its volume and to its node."""


def replace_lost_volume(kubeconfig: str) -> None:
    """Replace the volume of MLflow by an empty one on any node, and return when MLflow is ready.

    Raises:
        BackupError: MLflow is ready, so its volume is not lost.
    """
    deployment = json.loads(kubectl_output(kubeconfig, ["get", "deployment", NAME, "--output", "json", *IN_NAMESPACE]))
    if deployment["status"].get("readyReplicas"):
        raise BackupError("MLflow is ready, so its volume is not lost; remove --new-volume")
    claim = json.loads(kubectl_output(kubeconfig, ["get", "pvc", NAME, "--output", "json", *IN_NAMESPACE]))
    kubectl_output(kubeconfig, ["delete", "pvc", NAME, "--wait=false", *IN_NAMESPACE])
    # The pod of a machine that is off never ends by itself, and the claim stays while a pod uses it.
    delete_pods = ["delete", "pods", "--all", "--force", "--grace-period=0", *IN_NAMESPACE]
    kubectl_output(kubeconfig, delete_pods)
    kubectl_output(kubeconfig, ["wait", "--for=delete", f"pvc/{NAME}", f"--timeout={ROLLOUT_SECONDS}s", *IN_NAMESPACE])
    kubectl_output(kubeconfig, ["create", "--filename", "-"], json.dumps(unbound_claim(claim)))
    # A pod that the scheduler refused for the missing claim waits for five minutes. A new one does not.
    kubectl_output(kubeconfig, delete_pods)
    ready = ["rollout", "status", f"deployment/{NAME}", f"--timeout={ROLLOUT_SECONDS}s", *IN_NAMESPACE]
    kubectl_output(kubeconfig, ready)


def unbound_claim(claim: dict[str, Any]) -> dict[str, Any]:
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
