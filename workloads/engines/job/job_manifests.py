"""Manifests of a run: a Job, a Job for each loop, and a Secret with the environment variables of the steps."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from mlplatform.job_namespace import DASK, PODS
from mlplatform.k8s.namespace import CONTAINER_SECURITY, POD

from infra.dynamic_provider import UserError
from workloads.engines.base import RunRequest
from workloads.engines.dag.parameter_values import ParameterError, require_short
from workloads.engines.pod_dask import DaskPods
from workloads.engines.pod_entrypoint import LOOP_VARIABLE, REPORTED_FAILURE, RUN_VARIABLE
from workloads.engines.pod_loops import LoopPods

RUN_ID = "mlplatform/run-id"
PIPELINE = "mlplatform/pipeline"
"""Label of the Job of a run with its pipeline."""
CONTAINER = "run"
PACKAGE = "package.yaml.gz"
RESOURCES = {
    "requests": {"cpu": "200m", "memory": "512Mi", "ephemeral-storage": "1Gi"},
    "limits": {"cpu": "2", "memory": "2Gi", "ephemeral-storage": "10Gi"},
}
TTL_SECONDS = 24 * 3600
"""Kubernetes deletes a finished Job after this time, if no `up` deleted it before."""
MAX_LOST_PODS = 3
RESTARTED = 255
"""Exit code that the container runtime reports for a container that ran when its machine lost power."""
PAUSE_VARIABLE = "DASK_DISTRIBUTED__WORKER__MEMORY__PAUSE"
"""A paused worker would block a training, which needs all workers."""
DEATH_SECONDS = 120
"""A worker without a scheduler ends after this time."""


def job_manifest(name: str, request: RunRequest, image: str) -> dict[str, Any]:
    """Return the manifest of a suspended Job: it starts after its Secret exists."""
    return {
        "metadata": {
            "name": name,
            "labels": {**PODS, PIPELINE: request.pipeline},
            "annotations": {RUN_ID: request.run_id},
        },
        "spec": {
            "suspend": True,
            **_limits(request),
            "backoffLimit": MAX_LOST_PODS,
            # A failed run has a result and is not repeated. A run starts again if its node was lost or restarted.
            "podFailurePolicy": _failure_policy("FailJob", "NotIn", 0),
            "template": {"metadata": {"labels": _labels(request)}, "spec": _pod(name, request, image, {})},
        },
    }


def loop_manifest(name: str, job: Any, request: RunRequest, image: str, loop: LoopPods) -> dict[str, Any]:
    """Return the manifest of the indexed Job with the iterations of a loop; Kubernetes deletes it with the run's Job.

    Its pods have the Secret of the run's Job and are spread over the nodes.
    """
    pod = _pod(job.metadata.name, request, image, {LOOP_VARIABLE: loop.loop})
    return _indexed_job(name, job, request, pod, completions=loop.pods, parallelism=loop.parallel)


def dask_manifest(name: str, job: Any, request: RunRequest, image: str, pods: DaskPods) -> dict[str, Any]:
    """Return the manifest of the indexed Job with the workers of Dask; Kubernetes deletes it with the run's Job."""
    pod = _pod(job.metadata.name, request, image, {})
    (container,) = pod["containers"]
    worker = [*("--nthreads", "1"), *("--memory-limit", pods.memory.replace("i", "iB")), "--no-dashboard"]
    worker += [*("--death-timeout", str(DEATH_SECONDS)), *("--local-directory", "/run/pipeline"), pods.address]
    container["env"].append({"name": PAUSE_VARIABLE, "value": "False"})
    container["command"] = ["python3", "-m", "workloads.engines.pod_dask_worker", *worker]
    memory = {"memory": pods.memory}
    container["resources"] = {kind: {**RESOURCES[kind], **memory} for kind in ("requests", "limits")}
    return _indexed_job(name, job, request, pod, completions=pods.workers, parallelism=pods.workers)


def _indexed_job(
    name: str, job: Any, request: RunRequest, pod: dict[str, Any], completions: int, parallelism: int
) -> dict[str, Any]:
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": {"batch.kubernetes.io/job-name": name}},
    }
    spec = {**pod, "topologySpreadConstraints": [spread]}
    return {
        "metadata": {"name": name, "labels": PODS, "ownerReferences": [_owner(job.metadata.name, job.metadata.uid)]},
        "spec": {
            "completionMode": "Indexed",
            "completions": completions,
            "parallelism": parallelism,
            **_limits(request),
            "backoffLimitPerIndex": MAX_LOST_PODS,
            # An iteration that failed has a result and is not repeated. One whose pod was lost runs again alone.
            "podFailurePolicy": _failure_policy("FailIndex", "In", REPORTED_FAILURE),
            "template": {"metadata": {"labels": _labels(request)}, "spec": spec},
        },
    }


def _labels(request: RunRequest) -> dict[str, str]:
    """Return the labels of a run's pods: those of a run with workers may connect to each other."""
    return {**PODS, **DASK} if request.arguments.get("dask") else PODS


def _limits(request: RunRequest) -> dict[str, int]:
    return {"activeDeadlineSeconds": 60 * request.timeout_minutes, "ttlSecondsAfterFinished": TTL_SECONDS}


def _failure_policy(action: str, operator: str, code: int) -> dict[str, Any]:
    """Return the policy that takes an action on exit codes, and starts pods again that their node lost."""
    lost = {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    return {"rules": [lost, _exit_rule("Count", "In", RESTARTED), _exit_rule(action, operator, code)]}


def _exit_rule(action: str, operator: str, code: int) -> dict[str, Any]:
    return {"action": action, "onExitCodes": {"containerName": CONTAINER, "operator": operator, "values": [code]}}


def _pod(secret: str, request: RunRequest, image: str, variables: Mapping[str, str]) -> dict[str, Any]:
    """Return the pod of a run, or of a part of it.

    Raises:
        UserError: the arguments of the run are too long for a variable.
    """
    run = {
        "pipeline": request.pipeline,
        "run_id": request.run_id,
        "arguments": dict(request.arguments),
        "tracking_url": request.tracking_url,
    }
    variables = {RUN_VARIABLE: json.dumps(run), "MPLCONFIGDIR": "/tmp/matplotlib", **variables}
    try:
        texts = (f"{variable}={value}" for variable, value in variables.items())
        require_short(f"the run {request.run_id}", texts, request.arguments)
    except ParameterError as error:
        raise UserError(str(error)) from None
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
