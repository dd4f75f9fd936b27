"""Manifests of a run: a Job, and a Secret with the environment variables of its steps."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from mlplatform.job_namespace import PODS
from mlplatform.k8s.namespace import CONTAINER_SECURITY, POD

from workloads.engines.base import RunRequest
from workloads.engines.pod_entrypoint import RUN_VARIABLE

RUN_ID = "mlplatform/run-id"
PACKAGE = "package.yaml.gz"
RESOURCES = {
    "requests": {"cpu": "200m", "memory": "512Mi", "ephemeral-storage": "1Gi"},
    "limits": {"cpu": "2", "memory": "2Gi", "ephemeral-storage": "10Gi"},
}
TTL_SECONDS = 24 * 3600
"""Kubernetes deletes a finished Job after this time, if no `up` deleted it before."""
MAX_LOST_PODS = 3


def job_manifest(name: str, request: RunRequest, image: str) -> dict[str, Any]:
    """Return the manifest of a suspended Job: it starts after its Secret exists."""
    run = {
        "pipeline": request.pipeline,
        "run_id": request.run_id,
        "arguments": dict(request.arguments),
        "tracking_url": request.tracking_url,
    }
    container = {
        "name": "run",
        "image": image,
        "command": ["python3", "-m", "workloads.engines.pod_entrypoint", f"/package/{PACKAGE}", "/run/pipeline"],
        "env": [
            {"name": RUN_VARIABLE, "value": json.dumps(run)},
            {"name": "MPLCONFIGDIR", "value": "/tmp/matplotlib"},
        ],
        "envFrom": [{"secretRef": {"name": name}}],
        "resources": RESOURCES,
        "securityContext": CONTAINER_SECURITY,
        "volumeMounts": [
            {"name": "package", "mountPath": "/package", "readOnly": True},
            {"name": "run", "mountPath": "/run/pipeline"},
            {"name": "tmp", "mountPath": "/tmp"},
        ],
    }
    spec = {
        **POD,
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 5,
        "containers": [container],
        "volumes": [
            {"name": "package", "configMap": {"name": request.version_id}},
            {"name": "run", "emptyDir": {"sizeLimit": "8Gi"}},
            {"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}},
        ],
    }
    return {
        "metadata": {"name": name, "labels": PODS, "annotations": {RUN_ID: request.run_id}},
        "spec": {
            "suspend": True,
            "activeDeadlineSeconds": 60 * request.timeout_minutes,
            "ttlSecondsAfterFinished": TTL_SECONDS,
            "backoffLimit": MAX_LOST_PODS,
            # A failed run has a result and is not repeated. A run on a lost node starts again in a new pod.
            "podFailurePolicy": {
                "rules": [
                    {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                    {"action": "FailJob", "onExitCodes": {"containerName": "run", "operator": "NotIn", "values": [0]}},
                ]
            },
            "template": {"metadata": {"labels": PODS}, "spec": spec},
        },
    }


def secret_manifest(name: str, job_uid: str, secrets: Mapping[str, str]) -> dict[str, Any]:
    """Return the manifest of the Secret with the steps' environment variables; Kubernetes deletes it with the Job."""
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": job_uid}
    return {"metadata": {"name": name, "labels": PODS, "ownerReferences": [owner]}, "stringData": dict(secrets)}
