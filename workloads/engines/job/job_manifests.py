"""Manifests of a run: a Job, a Job for each loop, and a Secret with the environment variables of the steps."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from mlplatform.job_namespace import PODS
from mlplatform.k8s.namespace import CONTAINER_SECURITY, POD

from workloads.engines.base import RunRequest
from workloads.engines.pod_entrypoint import LOOP_VARIABLE, REPORTED_FAILURE, RUN_VARIABLE
from workloads.engines.pod_loops import LoopPods

RUN_ID = "mlplatform/run-id"
CONTAINER = "run"
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
    return {
        "metadata": {"name": name, "labels": PODS, "annotations": {RUN_ID: request.run_id}},
        "spec": {
            "suspend": True,
            **_limits(request),
            "backoffLimit": MAX_LOST_PODS,
            # A failed run has a result and is not repeated. A run on a lost node starts again in a new pod.
            "podFailurePolicy": _failure_policy("FailJob", "NotIn", 0),
            "template": {"metadata": {"labels": PODS}, "spec": _pod(name, request, image, {})},
        },
    }


def loop_manifest(name: str, job: Any, request: RunRequest, image: str, loop: LoopPods) -> dict[str, Any]:
    """Return the manifest of the indexed Job with the iterations of a loop; Kubernetes deletes it with the run's Job.

    Its pods have the Secret of the run's Job and are spread over the nodes.
    """
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": {"batch.kubernetes.io/job-name": name}},
    }
    pod = _pod(job.metadata.name, request, image, {LOOP_VARIABLE: loop.loop})
    return {
        "metadata": {"name": name, "labels": PODS, "ownerReferences": [_owner(job.metadata.name, job.metadata.uid)]},
        "spec": {
            "completionMode": "Indexed",
            "completions": loop.pods,
            "parallelism": loop.parallel,
            **_limits(request),
            "backoffLimitPerIndex": MAX_LOST_PODS,
            # An iteration that failed has a result and is not repeated. One whose pod was lost runs again alone.
            "podFailurePolicy": _failure_policy("FailIndex", "In", REPORTED_FAILURE),
            "template": {"metadata": {"labels": PODS}, "spec": {**pod, "topologySpreadConstraints": [spread]}},
        },
    }


def _limits(request: RunRequest) -> dict[str, int]:
    return {"activeDeadlineSeconds": 60 * request.timeout_minutes, "ttlSecondsAfterFinished": TTL_SECONDS}


def _failure_policy(action: str, operator: str, code: int) -> dict[str, Any]:
    """Return the policy that takes an action on exit codes, and does not count pods that their node lost."""
    exits = {"containerName": CONTAINER, "operator": operator, "values": [code]}
    lost = {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    return {"rules": [lost, {"action": action, "onExitCodes": exits}]}


def _pod(secret: str, request: RunRequest, image: str, variables: Mapping[str, str]) -> dict[str, Any]:
    run = {
        "pipeline": request.pipeline,
        "run_id": request.run_id,
        "arguments": dict(request.arguments),
        "tracking_url": request.tracking_url,
    }
    variables = {RUN_VARIABLE: json.dumps(run), "MPLCONFIGDIR": "/tmp/matplotlib", **variables}
    container = {
        "name": CONTAINER,
        "image": image,
        "command": ["python3", "-m", "workloads.engines.pod_entrypoint", f"/package/{PACKAGE}", "/run/pipeline"],
        "env": [{"name": variable, "value": value} for variable, value in variables.items()],
        "envFrom": [{"secretRef": {"name": secret}}],
        "resources": RESOURCES,
        "securityContext": CONTAINER_SECURITY,
        "volumeMounts": [
            {"name": "package", "mountPath": "/package", "readOnly": True},
            {"name": "run", "mountPath": "/run/pipeline"},
            {"name": "tmp", "mountPath": "/tmp"},
        ],
    }
    return {
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


def secret_manifest(name: str, job_uid: str, secrets: Mapping[str, str]) -> dict[str, Any]:
    """Return the manifest of the Secret with the steps' environment variables; Kubernetes deletes it with the Job."""
    metadata = {"name": name, "labels": PODS, "ownerReferences": [_owner(name, job_uid)]}
    return {"metadata": metadata, "stringData": dict(secrets)}


def _owner(name: str, uid: str) -> dict[str, str]:
    return {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": uid}
