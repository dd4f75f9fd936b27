"""Where Kubeflow Pipelines keeps things: a database, an object store, and the metadata server of that database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
from mlplatform.kubeflow.database import Database, database
from mlplatform.kubeflow.deployment_factory import DeploymentFactory, egress_outside
from mlplatform.kubeflow.kubeflow_images import IMAGES
from mlplatform.kubeflow.object_store import Objects, objects

from settings.platform import KubeflowSettings

METADATA = "metadata-grpc-deployment"
METADATA_SERVICE = "metadata-grpc-service"
METADATA_PORT = 8080


@dataclass(frozen=True)
class Stores:
    """All three; what uses them waits for `addresses`, each `host:port`."""

    database: Database
    objects: Objects
    addresses: Sequence[str]
    resources: Sequence[pulumi.Resource]


def stores(part: DeploymentFactory, settings: KubeflowSettings) -> Stores:
    """Those of the settings, or of its own, and the metadata server."""
    data, files = database(part, settings), objects(part, settings)
    return Stores(
        data,
        files,
        [f"{data.host}:{data.port}", f"{files.host}:{files.port}", f"{METADATA_SERVICE}:{METADATA_PORT}"],
        [*data.resources, *files.resources, *_metadata(part, data)],
    )


def _metadata(part: DeploymentFactory, kept_in: Database) -> list[pulumi.Resource]:
    secret = part.secret(
        METADATA, {"store.pbtxt": kept_in.password.apply(lambda password: _connection(kept_in, password))}
    )
    health = {"tcpSocket": {"port": METADATA_PORT}, "timeoutSeconds": 3}
    container = {
        "name": "metadata",
        "image": IMAGES["metadata"],
        "command": ["/bin/metadata_store_server"],
        "args": [
            f"--grpc_port={METADATA_PORT}",
            "--metadata_store_server_config_file=/etc/metadata/store.pbtxt",
        ],
        "ports": [{"name": "grpc", "containerPort": METADATA_PORT}],
        "startupProbe": health | {"periodSeconds": 1, "failureThreshold": 300},
        "readinessProbe": health | {"periodSeconds": 5},
        "livenessProbe": health | {"periodSeconds": 20, "failureThreshold": 6},
        "resources": {
            "requests": {"cpu": "20m", "memory": "64Mi", "ephemeral-storage": "10Mi"},
            "limits": {"cpu": "500m", "memory": "256Mi", "ephemeral-storage": "500Mi"},
        },
        "volumeMounts": [
            {"name": "settings", "mountPath": "/etc/metadata", "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},
        ],
    }
    deployment = part.deployment(
        METADATA,
        [container],
        part.admit(METADATA, METADATA_PORT, egress=[egress_outside(kept_in.port)]),
        settings=[secret],
        wait_for=[f"{kept_in.host}:{kept_in.port}"],
        volumes={"settings": {"secret": {"secretName": METADATA}}, "tmp": {"emptyDir": {"sizeLimit": "100Mi"}}},
    )
    return [part.service(METADATA_SERVICE, METADATA, {"grpc": (METADATA_PORT, METADATA_PORT)}), deployment]


def _connection(kept_in: Database, password: str) -> str:
    """How the metadata server gets to its tables, which it makes and brings to its own version."""
    fields = {"host": kept_in.host, "database": kept_in.metadata, "user": kept_in.user, "password": password}
    lines = "".join(f'    {key}: "{value}"\n' for key, value in fields.items())
    return (
        f"connection_config {{\n  mysql {{\n{lines}    port: {kept_in.port}\n  }}\n}}\n"
        "migration_options {\n  enable_upgrade_migration: true\n}\n"
    )
