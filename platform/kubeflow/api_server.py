"""The API server of Kubeflow Pipelines, its persistence agent and its scheduler of recurring runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes
from mlplatform.k8s.namespace import Rule
from mlplatform.k8s.pod import Container, EnvironmentValue, HttpGet, PodField, Resources, SecretKey, server_probes
from mlplatform.k8s.rbac import GROUP as RBAC_GROUP
from mlplatform.k8s.rbac import Rules
from mlplatform.k8s.volumes import AccountToken, ConfigMapFiles, EmptyDir, Mount
from mlplatform.kubeflow.argo import GROUP, custom_resource_definition
from mlplatform.kubeflow.database import SECRET as DATABASE_LOGIN
from mlplatform.kubeflow.deployment_factory import (
    STEPS,
    DeploymentFactory,
    component_port,
    egress_outside,
    pod,
)
from mlplatform.kubeflow.kubeflow_images import IMAGES
from mlplatform.kubeflow.object_store import NAME as OBJECTS
from mlplatform.kubeflow.object_store import S3_PORT
from mlplatform.kubeflow.object_store import SECRET as OBJECTS_KEYS
from mlplatform.kubeflow.stores import METADATA, METADATA_PORT, Stores

NAME = "ml-pipeline"
HTTP, GRPC = 8888, 8887
AGENT = "ml-pipeline-persistenceagent"
SCHEDULER = "ml-pipeline-scheduledworkflow"
RUNNER = "pipeline-runner"
"""The service account of the pods of runs."""
LAUNCHER = "kfp-launcher"
SCHEDULES = "scheduledworkflows.kubeflow.org"
"""The definition of the kind of recurring runs."""
AUDIENCE = "pipelines.kubeflow.org"
ALL = ["create", "get", "list", "watch", "update", "patch", "delete"]
SCHEDULE_SECONDS = 5
"""The longest delay of a scheduled run."""


def api_server(
    factory: DeploymentFactory, stores: Stores, egress: Sequence[pulumi.Input[Rule]]
) -> list[pulumi.Resource]:
    """Create the API server, the persistence agent, the scheduler and the rights of the pods of runs.

    `egress` allows the pods of runs to connect to addresses outside the namespace.
    """
    schedules = custom_resource_definition(
        "kubeflow.org", "v1beta1", "scheduledworkflows", "ScheduledWorkflow", factory.namespace.cluster
    )
    return [
        _server(factory, stores, [schedules, *_rights_of_runs(factory, stores, egress)]),
        factory.service(NAME, NAME, {"http": (HTTP, HTTP), "grpc": (GRPC, GRPC)}),
        _watcher(
            factory,
            AGENT,
            "persistence-agent",
            ["/bin/persistence_agent"],
            "persistenceagent-sa-token",
            AGENT_RULES,
            schedules,
        ),
        _watcher(
            factory,
            SCHEDULER,
            "scheduled-workflow-controller",
            ["/bin/controller", f"--recurringRunResyncIntervalSeconds={SCHEDULE_SECONDS}"],
            "scheduledworkflow-sa-token",
            SCHEDULER_RULES,
            schedules,
        ),
    ]


def _server(
    factory: DeploymentFactory, stores: Stores, depends_on: Sequence[pulumi.Resource]
) -> kubernetes.apps.v1.Deployment:
    # The image's own settings enable a plugin for an MLflow server at a foreign address, so these replace them.
    settings = factory.config_map(
        f"{NAME}-config",
        {"config.json": json.dumps(SETTINGS), "sample_config.json": json.dumps({"pipelines": []})},
    )
    server = Container(
        "ml-pipeline-api-server",
        IMAGES["api-server"],
        Resources(cpu=("50m", "1"), memory=("128Mi", "512Mi"), ephemeral_storage=("10Mi", "500Mi")),
        command=["/bin/apiserver"],
        args=[
            "--config=/config",
            "--sampleconfig=/config/sample_config.json",
            "-logtostderr=true",
            "--logLevel=info",
        ],
        environment=_environment(stores),
        ports={"http": HTTP, "grpc": GRPC},
        probes=server_probes(HttpGet("/apis/v2beta1/healthz", HTTP)),
        mounts=[Mount("settings", "/config", read_only=True), Mount("tmp", "/tmp")],
    )
    volumes = {"settings": ConfigMapFiles(f"{NAME}-config"), "tmp": EmptyDir("100Mi")}
    egress: list[pulumi.Input[Rule]] = [
        factory.api_server_rule,
        egress_outside(stores.database.port),
        egress_outside(stores.objects.port),
    ]
    return factory.deployment(
        NAME,
        pod([server], volumes, account=NAME),
        *factory.service_account(NAME, API_RULES),
        *depends_on,
        factory.allow_ingress(NAME, HTTP, GRPC, steps=[GRPC], egress=egress),
        wait_for=stores.addresses,
        settings=[settings, stores.database.secret, stores.objects.secret],
    )


def _environment(stores: Stores) -> dict[str, EnvironmentValue]:
    database, objects = stores.database, stores.objects
    return {
        "POD_NAMESPACE": PodField("metadata.namespace"),
        "CLUSTER_DOMAIN": "cluster.local",
        "DBCONFIG_MYSQLCONFIG_HOST": database.host,
        "DBCONFIG_MYSQLCONFIG_PORT": str(database.port),
        "DBCONFIG_MYSQLCONFIG_DBNAME": database.pipelines,
        "OBJECTSTORECONFIG_HOST": objects.host,
        "OBJECTSTORECONFIG_PORT": str(objects.port),
        "OBJECTSTORECONFIG_BUCKETNAME": objects.bucket,
        "OBJECTSTORECONFIG_SECURE": "true" if objects.secure else "false",
        "OBJECTSTORECONFIG_REGION": objects.region,
        "V2_DRIVER_IMAGE": IMAGES["driver"],
        "V2_LAUNCHER_IMAGE": IMAGES["launcher"],
        # The Pod Security level of the namespace requires these of the pods of runs.
        "DEFAULT_SECURITY_CONTEXT_RUN_AS_NON_ROOT": "true",
        "DEFAULT_SECURITY_CONTEXT_RUN_AS_USER": "1000",
        "DEFAULT_SECURITY_CONTEXT_RUN_AS_GROUP": "0",
        # The server does not start without these two, although the service does not exist here.
        "ML_PIPELINE_VISUALIZATIONSERVER_SERVICE_HOST": "none.invalid",
        "ML_PIPELINE_VISUALIZATIONSERVER_SERVICE_PORT": "8888",
        "DBCONFIG_MYSQLCONFIG_USER": SecretKey(DATABASE_LOGIN, "username"),
        "DBCONFIG_MYSQLCONFIG_PASSWORD": SecretKey(DATABASE_LOGIN, "password"),
        "OBJECTSTORECONFIG_ACCESSKEY": SecretKey(OBJECTS_KEYS, "accesskey"),
        "OBJECTSTORECONFIG_SECRETACCESSKEY": SecretKey(OBJECTS_KEYS, "secretkey"),
    }


def _watcher(
    factory: DeploymentFactory,
    name: str,
    image: str,
    command: Sequence[str],
    token: str,
    rules: Rules,
    *depends_on: pulumi.Resource,
) -> kubernetes.apps.v1.Deployment:
    """Create a controller that watches resources and calls the API server with the token in the file `token`."""
    watcher = Container(
        name,
        IMAGES[image],
        Resources(cpu=("20m", "500m"), memory=("32Mi", "256Mi"), ephemeral_storage=("10Mi", "500Mi")),
        command=[*command, "--logtostderr=true", f"--namespace={factory.namespace.name}", "--logLevel=info"],
        environment={"CRON_SCHEDULE_TIMEZONE": "UTC"},
        mounts=[Mount("token", "/var/run/secrets/kubeflow/tokens", read_only=True), Mount("tmp", "/tmp")],
    )
    volumes = {"token": AccountToken(token, AUDIENCE), "tmp": EmptyDir("100Mi")}
    return factory.deployment(
        name,
        pod([watcher], volumes, account=name),
        *factory.service_account(name, rules),
        *depends_on,
        factory.allow_ingress(name, egress=[factory.api_server_rule]),
        wait_for=[f"{NAME}:{HTTP}", f"{NAME}:{GRPC}"],
    )


def _rights_of_runs(
    factory: DeploymentFactory, stores: Stores, egress: Sequence[pulumi.Input[Rule]]
) -> list[pulumi.Resource]:
    """Create the service account of the pods of runs, the settings of their launchers and their network policy."""
    options = factory.namespace.options()
    metadata = factory.metadata(RUNNER)
    return [
        kubernetes.core.v1.ServiceAccount(
            RUNNER, metadata=metadata, image_pull_secrets=[{"name": "registry"}], opts=options
        ),
        kubernetes.rbac.v1.Role(RUNNER, metadata=metadata, rules=RUNNER_RULES, opts=options),
        kubernetes.rbac.v1.RoleBinding(
            RUNNER,
            metadata=metadata,
            role_ref={"kind": "Role", "name": RUNNER, "apiGroup": RBAC_GROUP},
            subjects=[{"kind": "ServiceAccount", "name": RUNNER, "namespace": factory.namespace.name}],
            opts=options,
        ),
        factory.config_map(LAUNCHER, stores.objects.launcher),
        factory.namespace.allow("pipeline-steps", STEPS, egress=[*egress, *_egress_to_services(factory, stores)]),
    ]


def _egress_to_services(factory: DeploymentFactory, stores: Stores) -> list[pulumi.Input[Rule]]:
    """Return the rules for the services that the driver and the launcher of each step call.

    Both use all of them. The launcher reads its settings and keys from the API server of Kubernetes, where argoexec
    writes results. The driver reads cached results from Kubeflow's API server, and the launcher adds to them.
    """
    return [
        factory.api_server_rule,
        component_port(METADATA, METADATA_PORT),
        component_port(NAME, GRPC),
        component_port(OBJECTS, S3_PORT) if stores.objects.in_cluster else egress_outside(stores.objects.port),
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
