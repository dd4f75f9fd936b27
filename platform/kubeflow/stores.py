"""The stores of Kubeflow Pipelines: a database, an object store, and the metadata server in front of the database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
from mlplatform.k8s.pod import Container, Resources, TcpConnect, server_probes
from mlplatform.k8s.volumes import EmptyDir, Mount, SecretFiles
from mlplatform.kubeflow.database import Database, database
from mlplatform.kubeflow.deployment_factory import DeploymentFactory, egress_outside, pod
from mlplatform.kubeflow.kubeflow_images import IMAGES
from mlplatform.kubeflow.object_store import ObjectStore, object_store

from settings.platform import KubeflowSettings

METADATA = "metadata-grpc-deployment"
METADATA_SERVICE = "metadata-grpc-service"
METADATA_PORT = 8080


@dataclass(frozen=True)
class Stores:
    """The database, the object store and the metadata server; clients wait for `addresses`, each `host:port`."""

    database: Database
    objects: ObjectStore
    addresses: Sequence[str]
    resources: Sequence[pulumi.Resource]


def stores(factory: DeploymentFactory, settings: KubeflowSettings) -> Stores:
    """Use the external database and object store of the settings, or create them; always create the metadata server."""
    data, objects = database(factory, settings), object_store(factory, settings)
    return Stores(
        data,
        objects,
        [data.address, objects.address, f"{METADATA_SERVICE}:{METADATA_PORT}"],
        [*data.resources, *objects.resources, *_metadata_server(factory, data)],
    )


def _metadata_server(factory: DeploymentFactory, data: Database) -> list[pulumi.Resource]:
    secret = factory.secret(
        METADATA, {"store.pbtxt": data.password.apply(lambda password: _connection(data, password))}
    )
    server = Container(
        "metadata",
        IMAGES["metadata"],
        Resources(cpu=("20m", "500m"), memory=("64Mi", "256Mi"), ephemeral_storage=("10Mi", "500Mi")),
        command=["/bin/metadata_store_server"],
        args=[f"--grpc_port={METADATA_PORT}", "--metadata_store_server_config_file=/etc/metadata/store.pbtxt"],
        ports={"grpc": METADATA_PORT},
        probes=server_probes(TcpConnect(METADATA_PORT)),
        mounts=[Mount("settings", "/etc/metadata", read_only=True), Mount("tmp", "/tmp")],
    )
    template = pod([server], {"settings": SecretFiles(METADATA), "tmp": EmptyDir("100Mi")})
    policy = factory.allow_ingress(METADATA, METADATA_PORT, steps=[METADATA_PORT], egress=[egress_outside(data.port)])
    deployment = factory.deployment(METADATA, template, policy, settings=[secret], wait_for=[data.address])
    return [factory.service(METADATA_SERVICE, METADATA, {"grpc": (METADATA_PORT, METADATA_PORT)}), deployment]


def _connection(data: Database, password: str) -> str:
    """Return the metadata server's configuration; at its start, the server creates and migrates its tables."""
    fields = {"host": data.host, "database": data.metadata, "user": data.user, "password": password}
    lines = "".join(f'    {key}: "{value}"\n' for key, value in fields.items())
    return (
        f"connection_config {{\n  mysql {{\n{lines}    port: {data.port}\n  }}\n}}\n"
        "migration_options {\n  enable_upgrade_migration: true\n}\n"
    )
