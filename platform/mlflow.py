"""MLflow: experiment tracking and model registry, with its web pages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes
from mlplatform.images.image import Image
from mlplatform.k8s.namespace import CONTAINER_SECURITY, POD, namespace
from mlplatform.k8s.pvc import persistent_volume_claim
from mlplatform.k8s.service_url import service_url
from mlplatform.mlflow_password import reset_command
from mlplatform.mlflow_stores import store_variables
from mlplatform.tracking_access import TrackingAccess

from infra.cluster import Cluster
from infra.kubernetes_client.port_forward import PodTarget
from infra.local.local_process import HOST, PYTHON, LocalProcess
from infra.registry import ContainerRegistry
from infra.secrets import RandomPassword
from settings.platform import TrackingSettings

NAMESPACE = "mlplatform-tracking"
NAME = "mlflow"
PODS = {"app.kubernetes.io/name": NAME}
CONTAINER_PORT = 5000
ADMINISTRATOR = "admin"
DISABLED_FEATURES = {
    # The job runner starts four more processes, for scheduled evaluations of language models.
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
AUTH = """[mlflow]
default_permission = READ
database_uri = sqlite:////data/basic_auth.db
admin_username = admin
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
auth_cache_ttl_seconds = 60
"""


@dataclass(frozen=True)
class TrackingServer:
    """Addresses of an MLflow server.

    Args:
        inside_url: its address for pods; equal to `url` for a server on this computer.
        access: its address and credentials for this computer; the password is secret.
        resources: resources that a client of the server waits for.
    """

    inside_url: pulumi.Output[str]
    access: TrackingAccess[pulumi.Input[str]]
    resources: list[pulumi.Resource]

    @property
    def url(self) -> pulumi.Output[str]:
        """Return the address of the server for a person."""
        return pulumi.Output.from_input(self.access.url)


def tracking_process(settings: TrackingSettings, directory: Path) -> TrackingServer:
    """Start MLflow as a process of this computer.

    Runs and models are in a SQLite file and artifacts in a folder below `directory`, unless the settings name stores.
    """
    plain, secret = store_variables(settings, "")
    process = LocalProcess(
        NAME,
        command=[PYTHON, *_arguments(HOST, settings.port)],
        environment={**DISABLED_FEATURES, **plain, **secret},
        revision=version("mlflow"),
        port=settings.port,
        setting="platform:tracking.port",
        ready_path="/health",
        data=directory / "mlflow",
        retain=settings.retain,
    )
    return TrackingServer(process.url, TrackingAccess(process.url), [process])


class MlflowServer(pulumi.ComponentResource):
    """MLflow in the cluster, with basic authentication.

    Runs, models and artifacts are on a volume of the default storage class, unless the settings name stores. Users
    and their passwords are always on that volume.
    """

    server: TrackingServer

    def __init__(
        self, settings: TrackingSettings, cluster: Cluster, registry: ContainerRegistry, libraries: Image
    ) -> None:
        super().__init__("mlplatform:platform:MlflowServer", NAME)
        plain, hidden = store_variables(settings, "/data/")
        tracking = namespace(NAMESPACE, cluster.under(self), registry, volumes=True)
        password = RandomPassword("mlflow-password", pulumi.ResourceOptions(parent=self))
        session_key = RandomPassword("mlflow-session-key", pulumi.ResourceOptions(parent=self))
        metadata: dict[str, Any] = {"name": NAME, "namespace": NAMESPACE, "labels": PODS}
        secret = kubernetes.core.v1.Secret(
            NAME,
            metadata=metadata,
            string_data={
                "MLFLOW_AUTH_ADMIN_PASSWORD": password.value,
                "MLFLOW_FLASK_SERVER_SECRET_KEY": session_key.value,
                "basic_auth.ini": AUTH,
                **hidden,
            },
            opts=tracking.options(),
        )
        volume = persistent_volume_claim(NAME, tracking, PODS, settings.size_gb)
        # Users open the pages from any address: the password protects them.
        policy = tracking.allow(NAME, PODS, ingress=[{"ports": [{"protocol": "TCP", "port": CONTAINER_PORT}]}])
        deployment = kubernetes.apps.v1.Deployment(
            NAME,
            metadata=metadata,
            spec={
                "replicas": 1,
                # A SQLite file takes one writer: the old pod ends before the new pod starts.
                "strategy": {"type": "Recreate"},
                "selector": {"matchLabels": PODS},
                "template": {"metadata": {"labels": PODS}, "spec": _pod(libraries, plain, hidden)},
            },
            opts=tracking.options(secret, volume, policy),
        )
        service = kubernetes.core.v1.Service(
            NAME,
            metadata=metadata,
            spec={
                "type": settings.service,
                "selector": PODS,
                "ports": [{"name": "http", "port": settings.port, "targetPort": CONTAINER_PORT}],
            },
            opts=tracking.options(deployment),
        )
        inside_url = f"http://{NAME}.{NAMESPACE}.svc:{settings.port}"
        selector = ",".join(f"{key}={value}" for key, value in PODS.items())
        in_cluster = settings.service == "ClusterIP"
        self.server = TrackingServer(
            inside_url=pulumi.Output.from_input(inside_url),
            access=TrackingAccess(
                url=service_url(service, settings.service, cluster, inside_url),
                username=ADMINISTRATOR,
                password=password.value,
                pod=PodTarget(cluster.kubeconfig, NAMESPACE, selector, CONTAINER_PORT) if in_cluster else None,
            ),
            resources=[service],
        )
        self.register_outputs({"url": self.server.url})


def _arguments(host: str, port: int) -> list[str]:
    return ["-m", "mlflow", "server", "--host", host, "--port", str(port), "--workers", "1"]


def _pod(libraries: Image, plain: Mapping[str, str], hidden: Iterable[str]) -> dict[str, Any]:
    """Return the specification of the server's pod; `hidden` are the names of the secret environment variables."""
    health = {"httpGet": {"path": "/health", "port": CONTAINER_PORT}, "timeoutSeconds": 5}
    environment = {
        **DISABLED_FEATURES,
        **plain,
        "MLFLOW_AUTH_CONFIG_PATH": "/etc/mlflow/basic_auth.ini",
        # External host names are unknown here, and every request needs the password: disable the check of the Host
        # header.
        "MLFLOW_SERVER_ALLOWED_HOSTS": "*",
    }
    container = {
        "name": NAME,
        "image": libraries.reference,
        "command": ["python3", *_arguments("0.0.0.0", CONTAINER_PORT), "--app-name", "basic-auth"],
        "workingDir": "/data",
        "env": [
            *({"name": name, "value": value} for name, value in environment.items()),
            *(
                {"name": name, "valueFrom": {"secretKeyRef": {"name": NAME, "key": name}}}
                for name in ("MLFLOW_AUTH_ADMIN_PASSWORD", "MLFLOW_FLASK_SERVER_SECRET_KEY", *hidden)
            ),
        ],
        "ports": [{"name": "http", "containerPort": CONTAINER_PORT}],
        "startupProbe": health | {"periodSeconds": 2, "failureThreshold": 120},
        "readinessProbe": health | {"periodSeconds": 5},
        "livenessProbe": health | {"periodSeconds": 20, "failureThreshold": 6},
        "resources": {
            "requests": {"cpu": "100m", "memory": "512Mi", "ephemeral-storage": "100Mi"},
            "limits": {"cpu": "1", "memory": "1Gi", "ephemeral-storage": "1Gi"},
        },
        "securityContext": CONTAINER_SECURITY,
        "volumeMounts": [
            {"name": "data", "mountPath": "/data"},
            {"name": "settings", "mountPath": "/etc/mlflow", "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},
        ],
    }
    settings_file = {"secretName": NAME, "items": [{"key": "basic_auth.ini", "path": "basic_auth.ini"}]}
    return {
        **POD,
        "terminationGracePeriodSeconds": 5,
        "initContainers": [_reset_password(container)],
        "containers": [container],
        "volumes": [
            {"name": "data", "persistentVolumeClaim": {"claimName": NAME}},
            {"name": "settings", "secret": settings_file},
            {"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}},
        ],
    }


def _reset_password(server: Mapping[str, Any]) -> dict[str, Any]:
    """Return the init container that sets the password in the database of users on the server's volume."""
    fields = ("image", "workingDir", "env", "resources", "securityContext", "volumeMounts")
    return {
        "name": "password",
        "command": reset_command("/data/basic_auth.db", ADMINISTRATOR),
        **{field: server[field] for field in fields},
    }
