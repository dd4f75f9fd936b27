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
from mlplatform.k8s.namespace import CONTAINER_SECURITY, POD, Namespace, namespace
from mlplatform.k8s.pvc import persistent_volume_claim
from mlplatform.k8s.service_url import service_url
from mlplatform.mlflow_stores import store_variables

from infra.cluster import Cluster
from infra.local.local_process import HOST, PYTHON, LocalProcess
from infra.registry import ContainerRegistry
from infra.secrets import RandomPassword
from settings.platform import TrackingSettings

NAMESPACE = "mlplatform-tracking"
NAME = "mlflow"
PODS = {"app.kubernetes.io/name": NAME}
CONTAINER_PORT = 5000
ADMINISTRATOR = "admin"
QUIET = {
    # Scheduled evaluations of language models: four more processes that nothing here asks for.
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
    """An MLflow server.

    `url` is its address for a person, `inside_url` for pods; both are the same on one computer. `access` is what
    `infra.kubernetes_client.port_forward.reachable_url` takes to use it from here: user and
    password, and how to get into the cluster where `url` does not lead there; secret. What uses it
    waits for `resources`.
    """

    url: pulumi.Output[str]
    inside_url: pulumi.Output[str]
    access: Mapping[str, pulumi.Input[str]]
    resources: list[pulumi.Resource]


def tracking_process(settings: TrackingSettings, directory: Path) -> TrackingServer:
    """A server on this computer: runs and models in SQLite, artifacts in a folder beside it, unless set otherwise."""
    plain, secret = store_variables(settings, "")
    process = LocalProcess(
        NAME,
        command=[
            *(PYTHON, "-m", "mlflow", "server", "--host", HOST, "--port", str(settings.port), "--workers", "1"),
        ],
        environment={**QUIET, **plain, **secret},
        revision=version("mlflow"),
        port=settings.port,
        setting="platform:tracking.port",
        ready_path="/health",
        data=directory / "mlflow",
        retain=settings.retain,
    )
    return TrackingServer(process.url, process.url, {}, [process])


def tracking_service(
    settings: TrackingSettings, cluster: Cluster, registry: ContainerRegistry, libraries: Image
) -> TrackingServer:
    """A server in the cluster, behind a password: SQLite and artifacts on a volume of the default class, unless set
    otherwise; users and passwords are always there.
    """
    plain, hidden = store_variables(settings, "/data/")
    room = namespace(NAMESPACE, cluster, registry)
    password, session_key = RandomPassword("mlflow-password"), RandomPassword("mlflow-session-key")
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
        opts=room.options(),
    )
    volume = persistent_volume_claim(NAME, room, PODS, settings.size_gb)
    # Its pages are for people: whoever has the password may come from anywhere.
    policy = room.allow(NAME, PODS, ingress=[{"ports": [{"protocol": "TCP", "port": CONTAINER_PORT}]}])
    server = _deployment(room, metadata, libraries, plain, hidden, [secret, volume, policy])
    service = kubernetes.core.v1.Service(
        NAME,
        metadata=metadata,
        spec={
            "type": settings.service,
            "selector": PODS,
            "ports": [{"name": "http", "port": settings.port, "targetPort": CONTAINER_PORT}],
        },
        opts=room.options(server),
    )
    inside = f"http://{NAME}.{NAMESPACE}.svc:{settings.port}"
    access: dict[str, pulumi.Input[str]] = {"username": ADMINISTRATOR, "password": password.value}
    if settings.service == "ClusterIP":
        access |= {
            "kubeconfig": cluster.kubeconfig,
            "namespace": NAMESPACE,
            "selector": ",".join(f"{key}={value}" for key, value in PODS.items()),
            "port": str(CONTAINER_PORT),
        }
    return TrackingServer(
        url=service_url(service, settings.service, cluster, inside),
        inside_url=pulumi.Output.from_input(inside),
        access=access,
        resources=[service],
    )


def _deployment(
    room: Namespace,
    metadata: dict[str, Any],
    libraries: Image,
    plain: Mapping[str, str],
    hidden: Iterable[str],
    depends_on: list[pulumi.Resource],
) -> kubernetes.apps.v1.Deployment:
    health = {"httpGet": {"path": "/health", "port": CONTAINER_PORT}, "timeoutSeconds": 5}
    environment = {
        **QUIET,
        **plain,
        "MLFLOW_AUTH_CONFIG_PATH": "/etc/mlflow/basic_auth.ini",
        # It is known by addresses that it cannot know; a page of somebody else's has no password for it.
        "MLFLOW_SERVER_ALLOWED_HOSTS": "*",
    }
    container = {
        "name": NAME,
        "image": libraries.reference,
        "command": [
            *(
                "python3",
                "-m",
                "mlflow",
                "server",
                "--host",
                "0.0.0.0",
                "--port",
                str(CONTAINER_PORT),
                "--workers",
                "1",
            ),
            *("--app-name", "basic-auth"),
        ],
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
    return kubernetes.apps.v1.Deployment(
        NAME,
        metadata=metadata,
        spec={
            "replicas": 1,
            # Two would write to one SQLite file.
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": PODS},
            "template": {
                "metadata": {"labels": PODS},
                "spec": {
                    **POD,
                    "terminationGracePeriodSeconds": 5,
                    "containers": [container],
                    "volumes": [
                        {"name": "data", "persistentVolumeClaim": {"claimName": NAME}},
                        {
                            "name": "settings",
                            "secret": {
                                "secretName": NAME,
                                "items": [{"key": "basic_auth.ini", "path": "basic_auth.ini"}],
                            },
                        },
                        {"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}},
                    ],
                },
            },
        },
        opts=room.options(*depends_on),
    )
