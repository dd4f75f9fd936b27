"""The API server of Kubeflow Pipelines, and the two that tell it how runs go and when one is due."""

from __future__ import annotations

import json
from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes
from mlplatform.k8s.namespace import DNS, EVERYWHERE
from mlplatform.kubeflow.argo import GROUP, definition
from mlplatform.kubeflow.database import SECRET as DATABASE_LOGIN
from mlplatform.kubeflow.deployment_factory import (
    API_SERVER,
    NEIGHBOURS,
    STEPS,
    DeploymentFactory,
    egress_outside,
    env_vars,
    from_secret,
    http_probes,
)
from mlplatform.kubeflow.kubeflow_images import IMAGES
from mlplatform.kubeflow.object_store import SECRET as OBJECTS_KEYS
from mlplatform.kubeflow.stores import Stores

NAME = "ml-pipeline"
HTTP, GRPC = 8888, 8887
AGENT = "ml-pipeline-persistenceagent"
SCHEDULER = "ml-pipeline-scheduledworkflow"
RUNNER = "pipeline-runner"
"""The service account of the pods of runs."""
LAUNCHER = "kfp-launcher"
AUDIENCE = "pipelines.kubeflow.org"
ALL = ["create", "get", "list", "watch", "update", "patch", "delete"]
SCHEDULE_SECONDS = 5
"""How late a scheduled run may begin."""


def api(part: DeploymentFactory, kept: Stores) -> list[pulumi.Resource]:
    """All three, and what a run's pods need."""
    schedules = definition("kubeflow.org", "v1beta1", "scheduledworkflows", "ScheduledWorkflow", part)
    runs = _for_runs(part, kept)
    return [
        _server(part, kept, [schedules, *runs]),
        part.service(NAME, NAME, {"http": (HTTP, HTTP), "grpc": (GRPC, GRPC)}),
        _agent(part, schedules),
        _scheduler(part, schedules),
    ]


def _server(part: DeploymentFactory, kept: Stores, depends_on: list[pulumi.Resource]) -> pulumi.Resource:
    # Of the settings that its image comes with, one turns on a plugin for an MLflow at an address of somebody else's.
    settings = part.config(
        f"{NAME}-config",
        {"config.json": json.dumps(SETTINGS), "sample_config.json": json.dumps({"pipelines": []})},
    )
    container = {
        "name": "ml-pipeline-api-server",
        "image": IMAGES["api-server"],
        "command": ["/bin/apiserver"],
        "args": [
            "--config=/config",
            "--sampleconfig=/config/sample_config.json",
            "-logtostderr=true",
            "--logLevel=info",
        ],
        "env": [
            {"name": "POD_NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
            *env_vars(
                {
                    "CLUSTER_DOMAIN": "cluster.local",
                    "DBCONFIG_MYSQLCONFIG_HOST": kept.database.host,
                    "DBCONFIG_MYSQLCONFIG_PORT": str(kept.database.port),
                    "DBCONFIG_MYSQLCONFIG_DBNAME": kept.database.pipelines,
                    "OBJECTSTORECONFIG_HOST": kept.objects.host,
                    "OBJECTSTORECONFIG_PORT": str(kept.objects.port),
                    "OBJECTSTORECONFIG_BUCKETNAME": kept.objects.bucket,
                    "OBJECTSTORECONFIG_SECURE": "true" if kept.objects.secure else "false",
                    "OBJECTSTORECONFIG_REGION": kept.objects.region,
                    "V2_DRIVER_IMAGE": IMAGES["driver"],
                    "V2_LAUNCHER_IMAGE": IMAGES["launcher"],
                    # Pods of runs keep to the Pod Security level of the namespace.
                    "DEFAULT_SECURITY_CONTEXT_RUN_AS_NON_ROOT": "true",
                    "DEFAULT_SECURITY_CONTEXT_RUN_AS_USER": "1000",
                    "DEFAULT_SECURITY_CONTEXT_RUN_AS_GROUP": "0",
                    # It does not start without these, although there is no such service.
                    "ML_PIPELINE_VISUALIZATIONSERVER_SERVICE_HOST": "none.invalid",
                    "ML_PIPELINE_VISUALIZATIONSERVER_SERVICE_PORT": "8888",
                }
            ),
            from_secret("DBCONFIG_MYSQLCONFIG_USER", DATABASE_LOGIN, "username"),
            from_secret("DBCONFIG_MYSQLCONFIG_PASSWORD", DATABASE_LOGIN, "password"),
            from_secret("OBJECTSTORECONFIG_ACCESSKEY", OBJECTS_KEYS, "accesskey"),
            from_secret("OBJECTSTORECONFIG_SECRETACCESSKEY", OBJECTS_KEYS, "secretkey"),
        ],
        "ports": [{"name": "http", "containerPort": HTTP}, {"name": "grpc", "containerPort": GRPC}],
        **http_probes("/apis/v2beta1/healthz", HTTP),
        "resources": {
            "requests": {"cpu": "50m", "memory": "128Mi", "ephemeral-storage": "10Mi"},
            "limits": {"cpu": "1", "memory": "512Mi", "ephemeral-storage": "500Mi"},
        },
        "volumeMounts": [
            {"name": "settings", "mountPath": "/config", "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},
        ],
    }
    account = part.account(NAME, API_RULES)
    return part.deployment(
        NAME,
        [container],
        *account,
        *depends_on,
        part.admit(
            NAME, HTTP, GRPC, egress=[API_SERVER, egress_outside(kept.database.port), egress_outside(kept.objects.port)]
        ),
        wait_for=kept.addresses,
        settings=[settings],
        account=NAME,
        volumes={
            "settings": {"configMap": {"name": f"{NAME}-config"}},
            "tmp": {"emptyDir": {"sizeLimit": "100Mi"}},
        },
    )


def _agent(part: DeploymentFactory, *depends_on: pulumi.Resource) -> pulumi.Resource:
    command = ["/bin/persistence_agent", "--logtostderr=true", f"--namespace={part.room.name}", "--logLevel=info"]
    return _watcher(part, AGENT, "persistence-agent", command, "persistenceagent-sa-token", AGENT_RULES, *depends_on)


def _scheduler(part: DeploymentFactory, *depends_on: pulumi.Resource) -> pulumi.Resource:
    command = [
        "/bin/controller",
        "--logtostderr=true",
        f"--namespace={part.room.name}",
        "--logLevel=info",
        f"--recurringRunResyncIntervalSeconds={SCHEDULE_SECONDS}",
    ]
    return _watcher(
        part,
        SCHEDULER,
        "scheduled-workflow-controller",
        command,
        "scheduledworkflow-sa-token",
        SCHEDULER_RULES,
        *depends_on,
    )


def _watcher(
    part: DeploymentFactory,
    name: str,
    image: str,
    command: list[str],
    token: str,
    rules: list[dict[str, Any]],
    *depends_on: pulumi.Resource,
) -> pulumi.Resource:
    """One that watches resources of the cluster, and shows the API server a token made for that."""
    container = {
        "name": name,
        "image": IMAGES[image],
        "command": command,
        "env": env_vars({"CRON_SCHEDULE_TIMEZONE": "UTC"}),
        "resources": {
            "requests": {"cpu": "20m", "memory": "32Mi", "ephemeral-storage": "10Mi"},
            "limits": {"cpu": "500m", "memory": "256Mi", "ephemeral-storage": "500Mi"},
        },
        "volumeMounts": [
            {"name": "token", "mountPath": "/var/run/secrets/kubeflow/tokens", "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},
        ],
    }
    proof = {"serviceAccountToken": {"path": token, "expirationSeconds": 3600, "audience": AUDIENCE}}
    return part.deployment(
        name,
        [container],
        *part.account(name, rules),
        *depends_on,
        part.admit(name, egress=[API_SERVER]),
        wait_for=[f"{NAME}:{HTTP}", f"{NAME}:{GRPC}"],
        account=name,
        volumes={"token": {"projected": {"sources": [proof]}}, "tmp": {"emptyDir": {"sizeLimit": "100Mi"}}},
    )


def _for_runs(part: DeploymentFactory, kept: Stores) -> list[pulumi.Resource]:
    """The service account of runs' pods, where their launchers keep artifacts, and where they may connect to."""
    options = part.room.options()
    metadata = part.metadata(RUNNER)
    return [
        kubernetes.core.v1.ServiceAccount(
            RUNNER, metadata=metadata, image_pull_secrets=[{"name": "registry"}], opts=options
        ),
        kubernetes.rbac.v1.Role(RUNNER, metadata=metadata, rules=RUNNER_RULES, opts=options),
        kubernetes.rbac.v1.RoleBinding(
            RUNNER,
            metadata=metadata,
            role_ref={"kind": "Role", "name": RUNNER, "apiGroup": "rbac.authorization.k8s.io"},
            subjects=[{"kind": "ServiceAccount", "name": RUNNER, "namespace": part.room.name}],
            opts=options,
        ),
        part.config(LAUNCHER, kept.objects.launcher),
        # Steps read data from wherever the pipeline's author says.
        part.room.allow("pipeline-steps", STEPS, egress=[DNS, {"to": [NEIGHBOURS]}, EVERYWHERE]),
    ]


SETTINGS = {
    "DBDriverName": "mysql",
    "DBConfig": {"MySQLConfig": {"GroupConcatMaxLen": "4194304"}, "ConMaxLifeTime": "120s"},
    "ObjectStoreConfig": {"PipelinePath": "pipelines"},
    "InitConnectionTimeout": "6m",
    "DEFAULTPIPELINERUNNERSERVICEACCOUNT": RUNNER,
    "CacheEnabled": "true",
    "CRON_SCHEDULE_TIMEZONE": "UTC",
}
API_RULES: list[dict[str, Any]] = [
    {"apiGroups": [""], "resources": ["pods", "pods/log"], "verbs": ["get", "list", "delete"]},
    {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": [LAUNCHER], "verbs": ["get"]},
    {"apiGroups": [GROUP], "resources": ["workflows"], "verbs": ALL},
    {"apiGroups": ["kubeflow.org"], "resources": ["scheduledworkflows"], "verbs": ALL},
    {"apiGroups": ["kubeflow.org"], "resources": ["scheduledworkflows/finalizers"], "verbs": ["update"]},
]
AGENT_RULES: list[dict[str, Any]] = [
    {"apiGroups": [GROUP], "resources": ["workflows"], "verbs": ["get", "list", "watch"]},
    {"apiGroups": ["kubeflow.org"], "resources": ["scheduledworkflows"], "verbs": ["get", "list", "watch"]},
    {"apiGroups": [AUDIENCE], "resources": ["scheduledworkflows", "workflows"], "verbs": ["report"]},
    {"apiGroups": [AUDIENCE], "resources": ["runs"], "verbs": ["reportMetrics", "readArtifact"]},
]
SCHEDULER_RULES: list[dict[str, Any]] = [
    {"apiGroups": [GROUP], "resources": ["workflows"], "verbs": ALL},
    {
        "apiGroups": ["kubeflow.org"],
        "resources": ["scheduledworkflows", "scheduledworkflows/finalizers", "scheduledworkflows/status"],
        "verbs": ALL,
    },
    {"apiGroups": [AUDIENCE], "resources": ["runs"], "verbs": ["create"]},
    {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]},
]
RUNNER_RULES: list[dict[str, Any]] = [
    {"apiGroups": [""], "resources": ["secrets"], "resourceNames": [OBJECTS_KEYS], "verbs": ["get"]},
    {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": [LAUNCHER], "verbs": ["get"]},
    {"apiGroups": [GROUP], "resources": ["workflowtaskresults"], "verbs": ["create", "patch"]},
]
