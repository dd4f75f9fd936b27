"""Argo Workflows, which runs each step of a pipeline in a pod."""

from __future__ import annotations

import json
from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes
from mlplatform.k8s.pod import Container, HttpGet, PodField, Resources, server_probes
from mlplatform.k8s.volumes import EmptyDir, Mount
from mlplatform.kubeflow.deployment_factory import SMALL, DeploymentFactory, pod
from mlplatform.kubeflow.kubeflow_images import IMAGES
from mlplatform.kubeflow.object_store import SECRET, ObjectStore

from infra.cluster import Cluster

NAME = "workflow-controller"
GROUP = "argoproj.io"
LOGS = (
    "private-artifacts/{{workflow.namespace}}/{{workflow.name}}/{{workflow.creationTimestamp.Y}}/"
    "{{workflow.creationTimestamp.m}}/{{workflow.creationTimestamp.d}}/{{pod.name}}"
)
"""The key of a step's log in the object store, from which the UI reads it once the pod is deleted."""
KINDS = {
    "cronworkflows": "CronWorkflow",
    "workflowartifactgctasks": "WorkflowArtifactGCTask",
    "workflows": "Workflow",
    "workflowtaskresults": "WorkflowTaskResult",
    "workflowtasksets": "WorkflowTaskSet",
    "workflowtemplates": "WorkflowTemplate",
}
KEPT_SECONDS = 24 * 3600
"""The time until the pods of a finished run are deleted; its record stays in the database."""


def custom_resource_definition(
    group: str, version: str, plural: str, kind: str, cluster: Cluster
) -> kubernetes.apiextensions.v1.CustomResourceDefinition:
    """Define a kind without a schema: upstream's schemas cost the API server 0.7 GB and most of a minute."""
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
        opts=cluster.options(),
    )


SPREAD = {
    "preferredDuringSchedulingIgnoredDuringExecution": [
        {
            "weight": 100,
            "podAffinityTerm": {
                "topologyKey": "kubernetes.io/hostname",
                "labelSelector": {
                    "matchExpressions": [{"key": "workflows.argoproj.io/workflow", "operator": "Exists"}]
                },
            },
        }
    ]
}
"""Preference of steps for nodes without steps: the iterations of a loop are spread over the workers."""


def argo(factory: DeploymentFactory, store: ObjectStore) -> list[pulumi.Resource]:
    """Create the workflow controller and the definitions of its kinds."""
    cluster = factory.namespace.cluster
    kinds = [custom_resource_definition(GROUP, "v1alpha1", plural, kind, cluster) for plural, kind in KINDS.items()]
    account = factory.service_account(NAME, RULES)
    settings = factory.config_map(
        f"{NAME}-configmap", {key: json.dumps(value) for key, value in _settings(store).items()}
    )
    controller = Container(
        NAME,
        IMAGES["workflow-controller"],
        Resources(cpu=("50m", "500m"), memory=("64Mi", "512Mi"), ephemeral_storage=("10Mi", "500Mi")),
        command=["workflow-controller"],
        args=["--configmap", f"{NAME}-configmap", "--executor-image", IMAGES["argoexec"], "--namespaced"],
        environment={
            "LEADER_ELECTION_IDENTITY": PodField("metadata.name"),
            # The next step starts after one second; Argo's default is ten.
            "DEFAULT_REQUEUE_TIME": "1s",
        },
        probes=server_probes(HttpGet("/healthz", 6060)),
        mounts=[Mount("tmp", "/tmp")],
    )
    template = pod([controller], {"tmp": EmptyDir("100Mi")}, account=NAME)
    policy = factory.allow_ingress(NAME, egress=[factory.api_server_rule])
    return [factory.deployment(NAME, template, *kinds, *account, policy, settings=[settings])]


def _settings(store: ObjectStore) -> dict[str, Any]:
    """Return the controller's settings by key of its ConfigMap; JSON is also YAML."""
    restricted = {
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
                "endpoint": f"{store.host}:{store.port}",
                "bucket": store.bucket,
                "keyFormat": LOGS,
                "insecure": not store.secure,
                "region": store.region,
                "accessKeySecret": {"name": SECRET, "key": "accesskey"},
                "secretKeySecret": {"name": SECRET, "key": "secretkey"},
            },
        },
        "executor": {
            "imagePullPolicy": "IfNotPresent",
            "resources": SMALL.manifest(),
            "securityContext": restricted,
        },
        "workflowDefaults": {
            "spec": {"ttlStrategy": {"secondsAfterCompletion": KEPT_SECONDS}, "affinity": {"podAntiAffinity": SPREAD}}
        },
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
        "resources": [f"{kind}{subresource}" for kind in KINDS for subresource in ("", "/finalizers", "/status")],
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
