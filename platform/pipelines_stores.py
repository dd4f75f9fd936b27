"""Where Kubeflow Pipelines keeps things: a database, an object store, and the metadata server in front of the database.

Each is one pod with a volume of the default class, and a password of its own.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
from mlplatform.pipelines_images import IMAGES
from mlplatform.pipelines_part import Part
from mlplatform.volumes import claim

from infra.keys import Password

DATABASE = "mysql"
DATABASE_USER = "kubeflow"
DATABASE_SECRET = "mysql-secret"
DATABASES = {"pipelines": "mlpipeline", "metadata": "metadb"}
OBJECTS = "seaweedfs"
OBJECTS_PORT = 9000
OBJECTS_SECRET = "mlpipeline-minio-artifact"
"""By this name the driver and the launcher of each step look for the keys."""
BUCKET = "mlpipeline"
METADATA = "metadata-grpc-deployment"
METADATA_SERVICE = "metadata-grpc-service"
METADATA_PORT = 8080
MYSQL_USER = 999
"""Of the database's image."""
DATA = "/var/lib/mysql"
SOCKET = "--socket=/run/mysqld/mysqld.sock"
FIRST_START = f"""test -d {DATA}/data/mysql || mariadb-install-db --no-defaults --datadir={DATA}/data \\
  --auth-root-authentication-method=normal --skip-test-db --skip-name-resolve"""


@dataclass(frozen=True)
class Stores:
    """What the other parts wait for, as `host:port`, and the resources behind it."""

    addresses: Sequence[str]
    resources: Sequence[pulumi.Resource]


def stores(part: Part, size_gb: int) -> Stores:
    """All three, each with a volume of `size_gb` where it keeps something."""
    password = Password("kubeflow-database-password").value
    return Stores(
        [f"{DATABASE}:3306", f"{OBJECTS}:{OBJECTS_PORT}", f"{METADATA_SERVICE}:{METADATA_PORT}"],
        [*_database(part, password, size_gb), *_objects(part, size_gb), *_metadata(part, password)],
    )


def _database(part: Part, password: pulumi.Output[str], size_gb: int) -> list[pulumi.Resource]:
    secret = part.secret(
        DATABASE_SECRET,
        {
            "username": DATABASE_USER,
            "password": password,
            "start.sql": password.apply(_first_statements),
            "client.cnf": pulumi.Output.concat("[client]\nuser=", DATABASE_USER, "\npassword=", password, "\n"),
        },
    )
    volume = claim(DATABASE, part.room, part.labels(DATABASE), size_gb)
    image = IMAGES["database"]
    mounts = [
        {"name": "data", "mountPath": DATA},
        {"name": "run", "mountPath": "/run/mysqld"},
        {"name": "tmp", "mountPath": "/tmp"},
        {"name": "settings", "mountPath": "/etc/kubeflow", "readOnly": True},
    ]
    alive = {"exec": {"command": ["mariadb-admin", "--defaults-file=/etc/kubeflow/client.cnf", SOCKET, "ping"]}}
    server = {
        "name": DATABASE,
        "image": image,
        "command": [
            "mariadbd",
            "--no-defaults",
            f"--datadir={DATA}/data",
            "--init-file=/etc/kubeflow/start.sql",
            SOCKET,
            "--bind-address=0.0.0.0",
            "--character-set-server=utf8mb4",
            "--skip-name-resolve",
            "--performance-schema=OFF",
            "--innodb-buffer-pool-size=64M",
        ],
        "ports": [{"name": "mysql", "containerPort": 3306}],
        "startupProbe": alive | {"periodSeconds": 1, "failureThreshold": 300, "timeoutSeconds": 5},
        "readinessProbe": alive | {"periodSeconds": 10, "timeoutSeconds": 5},
        "livenessProbe": alive | {"periodSeconds": 30, "timeoutSeconds": 10, "failureThreshold": 6},
        "resources": {
            "requests": {"cpu": "50m", "memory": "128Mi", "ephemeral-storage": "50Mi"},
            "limits": {"cpu": "1", "memory": "512Mi", "ephemeral-storage": "1Gi"},
        },
        "volumeMounts": mounts,
    }
    install = {
        "name": "install",
        "image": image,
        "command": ["sh", "-ec", FIRST_START],
        "resources": server["resources"],
        "volumeMounts": mounts[:3],
    }
    deployment = part.deployment(
        DATABASE,
        [server],
        volume,
        part.admit(DATABASE, 3306),
        settings=[secret],
        first=[install],
        volumes={
            "data": {"persistentVolumeClaim": {"claimName": DATABASE}},
            "run": {"emptyDir": {"sizeLimit": "10Mi"}},
            "tmp": {"emptyDir": {"sizeLimit": "500Mi"}},
            "settings": {
                "secret": {
                    "secretName": DATABASE_SECRET,
                    "items": [{"key": key, "path": key} for key in ("start.sql", "client.cnf")],
                }
            },
        },
        user=MYSQL_USER,
    )
    return [part.service(DATABASE, DATABASE, {"mysql": (3306, 3306)}), deployment]


def _first_statements(password: str) -> str:
    """What the server does at each start: it is the same the second time, and a new password takes effect by it."""
    user = f"'{DATABASE_USER}'@'%'"
    return "\n".join(
        [
            f"CREATE USER IF NOT EXISTS {user};",
            f"ALTER USER {user} IDENTIFIED BY '{password}';",
            *(
                f"CREATE DATABASE IF NOT EXISTS {name};\nGRANT ALL PRIVILEGES ON {name}.* TO {user};"
                for name in DATABASES.values()
            ),
            "ALTER USER 'root'@'localhost' ACCOUNT LOCK;",
            "",
        ]
    )


def _objects(part: Part, size_gb: int) -> list[pulumi.Resource]:
    access, key = Password("kubeflow-objects-access-key").value, Password("kubeflow-objects-secret-key").value
    secret = part.secret(
        OBJECTS_SECRET,
        {"accesskey": access, "secretkey": key, "s3.json": pulumi.Output.all(access, key).apply(_identities)},
    )
    volume = claim(OBJECTS, part.room, part.labels(OBJECTS), size_gb)
    health = {"httpGet": {"path": "/status", "port": 8333}, "timeoutSeconds": 5}
    container = {
        "name": OBJECTS,
        "image": IMAGES["objects"],
        "command": [
            "/usr/bin/weed",
            "-logtostderr=true",
            "server",
            "-dir=/data",
            "-ip=127.0.0.1",
            "-ip.bind=0.0.0.0",
            "-filer",
            "-s3",
            "-s3.config=/etc/seaweedfs/s3.json",
            "-master.volumePreallocate=false",
            "-master.volumeSizeLimitMB=1024",
            "-volume.max=0",
        ],
        "env": [{"name": "HOME", "value": "/tmp"}],
        "ports": [{"name": "s3", "containerPort": 8333}],
        "startupProbe": health | {"periodSeconds": 1, "failureThreshold": 300},
        "readinessProbe": health | {"periodSeconds": 5},
        "livenessProbe": health | {"periodSeconds": 20, "failureThreshold": 6},
        "resources": {
            "requests": {"cpu": "50m", "memory": "128Mi", "ephemeral-storage": "50Mi"},
            "limits": {"cpu": "1", "memory": "768Mi", "ephemeral-storage": "1Gi"},
        },
        "volumeMounts": [
            {"name": "data", "mountPath": "/data"},
            {"name": "settings", "mountPath": "/etc/seaweedfs", "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},
        ],
    }
    deployment = part.deployment(
        OBJECTS,
        [container],
        volume,
        part.admit(OBJECTS, 8333),
        settings=[secret],
        volumes={
            "data": {"persistentVolumeClaim": {"claimName": OBJECTS}},
            "settings": {"secret": {"secretName": OBJECTS_SECRET, "items": [{"key": "s3.json", "path": "s3.json"}]}},
            "tmp": {"emptyDir": {"sizeLimit": "500Mi"}},
        },
    )
    return [part.service(OBJECTS, OBJECTS, {"s3": (OBJECTS_PORT, 8333)}), deployment]


def _identities(keys: list[str]) -> str:
    """The one who may use the store."""
    access, key = keys
    identity = {
        "name": "kubeflow",
        "credentials": [{"accessKey": access, "secretKey": key}],
        "actions": ["Admin", "Read", "List", "Tagging", "Write"],
    }
    return json.dumps({"identities": [identity]})


def _metadata(part: Part, password: pulumi.Output[str]) -> list[pulumi.Resource]:
    secret = part.secret(METADATA, {"store.pbtxt": password.apply(_connection)})
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
        part.admit(METADATA, METADATA_PORT),
        settings=[secret],
        wait_for=[f"{DATABASE}:3306"],
        volumes={"settings": {"secret": {"secretName": METADATA}}, "tmp": {"emptyDir": {"sizeLimit": "100Mi"}}},
    )
    return [part.service(METADATA_SERVICE, METADATA, {"grpc": (METADATA_PORT, METADATA_PORT)}), deployment]


def _connection(password: str) -> str:
    """How the metadata server gets to its tables, which it makes and brings to its own version."""
    fields = {"host": DATABASE, "database": DATABASES["metadata"], "user": DATABASE_USER, "password": password}
    lines = "".join(f'    {key}: "{value}"\n' for key, value in fields.items())
    return (
        f"connection_config {{\n  mysql {{\n{lines}    port: 3306\n  }}\n}}\n"
        "migration_options {\n  enable_upgrade_migration: true\n}\n"
    )
