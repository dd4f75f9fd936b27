"""Argo Workflows: it turns the steps of a run into pods."""

from __future__ import annotations

import json
from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes
from mlplatform.kubeflow.deployment_factory import API_SERVER, SMALL, DeploymentFactory, env_vars, http_probes
from mlplatform.kubeflow.kubeflow_images import IMAGES
from mlplatform.kubeflow.object_store import SECRET, Objects

NAME = "workflow-controller"
GROUP = "argoproj.io"
LOGS = (
    "private-artifacts/{{workflow.namespace}}/{{workflow.name}}/{{workflow.creationTimestamp.Y}}/"
    "{{workflow.creationTimestamp.m}}/{{workflow.creationTimestamp.d}}/{{pod.name}}"
)
"""Where the logs of a step's pod are kept; the pages look there when the pod is gone."""
KINDS = {
    "cronworkflows": "CronWorkflow",
    "workflowartifactgctasks": "WorkflowArtifactGCTask",
    "workflows": "Workflow",
    "workflowtaskresults": "WorkflowTaskResult",
    "workflowtasksets": "WorkflowTaskSet",
    "workflowtemplates": "WorkflowTemplate",
}
KEPT_SECONDS = 24 * 3600
"""How long a run's pods can be looked at; its record stays in the database."""


def definition(group: str, version: str, plural: str, kind: str, part: DeploymentFactory) -> pulumi.Resource:
    """A kind of resources without a schema: the full ones cost the API server 0.7 GB, and most of a minute."""
    return kubernetes.apiextensions.v1.CustomResourceDefinition(
        f"{plural}.{group}",
        metadata={"name": f"{plural}.{group}"},
        spec={
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": kind, "listKind": f"{kind}List", "plural": plural, "singular": kind.lower()},
            "versions": [
                {
                    "name": version,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
                }
            ],
        },
        opts=part.room.cluster.options(),
    )


def argo(part: DeploymentFactory, files: Objects) -> list[pulumi.Resource]:
    """The controller of workflows in its own namespace, and the kinds that it knows."""
    kinds = [definition(GROUP, "v1alpha1", plural, kind, part) for plural, kind in KINDS.items()]
    account = part.account(NAME, RULES)
    settings = part.config(f"{NAME}-configmap", {key: json.dumps(value) for key, value in _settings(files).items()})
    container = {
        "name": NAME,
        "image": IMAGES["workflow-controller"],
        "command": ["workflow-controller"],
        "args": [
            "--configmap",
            f"{NAME}-configmap",
            "--executor-image",
            IMAGES["argoexec"],
            "--namespaced",
        ],
        "env": [
            {
                "name": "LEADER_ELECTION_IDENTITY",
                "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}},
            },
            # A step begins a second after the one before it, not ten.
            *env_vars({"DEFAULT_REQUEUE_TIME": "1s"}),
        ],
        **http_probes("/healthz", 6060),
        "resources": {
            "requests": {"cpu": "50m", "memory": "64Mi", "ephemeral-storage": "10Mi"},
            "limits": {"cpu": "500m", "memory": "512Mi", "ephemeral-storage": "500Mi"},
        },
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    }
    return [
        part.deployment(
            NAME,
            [container],
            *kinds,
            *account,
            part.admit(NAME, egress=[API_SERVER]),
            settings=[settings],
            account=NAME,
            volumes={"tmp": {"emptyDir": {"sizeLimit": "100Mi"}}},
        )
    ]


def _settings(files: Objects) -> dict[str, Any]:
    """The controller's settings, by key of its ConfigMap; JSON is YAML, too."""
    secured = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    return {
        "artifactRepository": {
            "archiveLogs": True,
            "s3": {
                "endpoint": f"{files.host}:{files.port}",
                "bucket": files.bucket,
                "keyFormat": LOGS,
                "insecure": not files.secure,
                "region": files.region,
                "accessKeySecret": {"name": SECRET, "key": "accesskey"},
                "secretKeySecret": {"name": SECRET, "key": "secretkey"},
            },
        },
        "executor": {"imagePullPolicy": "IfNotPresent", "resources": SMALL, "securityContext": secured},
        "workflowDefaults": {"spec": {"ttlStrategy": {"secondsAfterCompletion": KEPT_SECONDS}}},
    }


RULES: list[dict[str, Any]] = [
    {
        "apiGroups": [""],
        "resources": ["pods", "pods/exec"],
        "verbs": ["create", "get", "list", "watch", "update", "patch", "delete"],
    },
    {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list", "watch"]},
    {"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["get", "list"]},
    {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]},
    {
        "apiGroups": [""],
        "resources": ["persistentvolumeclaims", "persistentvolumeclaims/finalizers"],
        "verbs": ["create", "get", "update", "delete"],
    },
    {
        "apiGroups": [GROUP],
        "resources": [f"{kind}{part}" for kind in KINDS for part in ("", "/finalizers", "/status")],
        "verbs": ["create", "get", "list", "watch", "update", "patch", "delete", "deletecollection"],
    },
    {"apiGroups": ["policy"], "resources": ["poddisruptionbudgets"], "verbs": ["create", "get", "delete"]},
    {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create"]},
    {
        "apiGroups": ["coordination.k8s.io"],
        "resources": ["leases"],
        "resourceNames": [NAME, f"{NAME}-lease"],
        "verbs": ["get", "watch", "update", "patch", "delete"],
    },
]
