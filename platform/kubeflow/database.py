"""The database of Kubeflow Pipelines: MariaDB in a pod with a volume, or a server of somebody else's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pulumi
from mlplatform.k8s.pvc import persistent_volume_claim
from mlplatform.kubeflow.deployment_factory import DeploymentFactory
from mlplatform.kubeflow.kubeflow_images import IMAGES

from infra.secrets import RandomPassword
from settings.platform import KubeflowSettings

NAME = "mysql"
PORT = 3306
SECRET = "mysql-secret"
USER = "kubeflow"
PIPELINES, METADATA = "mlpipeline", "metadb"
SERVER_USER = 999
"""Of the image."""
DATA = "/var/lib/mysql"
SOCKET = "--socket=/run/mysqld/mysqld.sock"
FIRST_START = f"""test -d {DATA}/data/mysql || mariadb-install-db --no-defaults --datadir={DATA}/data \\
  --auth-root-authentication-method=normal --skip-test-db --skip-name-resolve"""


@dataclass(frozen=True)
class Database:
    """Where it is, and who may use the databases `pipelines` and `metadata`; the login is in `mysql-secret`."""

    host: str
    port: int
    user: str
    password: pulumi.Output[str]
    pipelines: str
    metadata: str
    resources: Sequence[pulumi.Resource] = field(default_factory=tuple)


def database(part: DeploymentFactory, settings: KubeflowSettings) -> Database:
    """The one of the settings; without one, a server of its own with a volume of the default class."""
    if (other := settings.database) is None:
        return _own(part, settings.size_gb)
    password = pulumi.Output.secret(other.password.get_secret_value())
    login = part.secret(SECRET, {"username": other.user, "password": password})
    return Database(other.host, other.port, other.user, password, other.pipelines, other.metadata, [login])


def _own(part: DeploymentFactory, size_gb: int) -> Database:
    password = RandomPassword("kubeflow-database-password").value
    secret = part.secret(
        SECRET,
        {
            "username": USER,
            "password": password,
            "start.sql": password.apply(_first_statements),
            "client.cnf": pulumi.Output.concat("[client]\nuser=", USER, "\npassword=", password, "\n"),
        },
    )
    volume = persistent_volume_claim(NAME, part.room, part.labels(NAME), size_gb)
    image = IMAGES["database"]
    mounts = [
        {"name": "data", "mountPath": DATA},
        {"name": "run", "mountPath": "/run/mysqld"},
        {"name": "tmp", "mountPath": "/tmp"},
        {"name": "settings", "mountPath": "/etc/kubeflow", "readOnly": True},
    ]
    alive = {"exec": {"command": ["mariadb-admin", "--defaults-file=/etc/kubeflow/client.cnf", SOCKET, "ping"]}}
    server = {
        "name": NAME,
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
        "ports": [{"name": "mysql", "containerPort": PORT}],
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
        NAME,
        [server],
        volume,
        part.admit(NAME, PORT),
        settings=[secret],
        first=[install],
        volumes={
            "data": {"persistentVolumeClaim": {"claimName": NAME}},
            "run": {"emptyDir": {"sizeLimit": "10Mi"}},
            "tmp": {"emptyDir": {"sizeLimit": "500Mi"}},
            "settings": {
                "secret": {
                    "secretName": SECRET,
                    "items": [{"key": key, "path": key} for key in ("start.sql", "client.cnf")],
                }
            },
        },
        user=SERVER_USER,
    )
    service = part.service(NAME, NAME, {"mysql": (PORT, PORT)})
    return Database(NAME, PORT, USER, password, PIPELINES, METADATA, [service, deployment])


def _first_statements(password: str) -> str:
    """What the server does at each start: it is the same the second time, and a new password takes effect by it."""
    user = f"'{USER}'@'%'"
    return "\n".join(
        [
            f"CREATE USER IF NOT EXISTS {user};",
            f"ALTER USER {user} IDENTIFIED BY '{password}';",
            *(
                f"CREATE DATABASE IF NOT EXISTS {name};\nGRANT ALL PRIVILEGES ON {name}.* TO {user};"
                for name in (PIPELINES, METADATA)
            ),
            "ALTER USER 'root'@'localhost' ACCOUNT LOCK;",
            "",
        ]
    )
