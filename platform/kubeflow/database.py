"""The database of Kubeflow Pipelines: the external one of the settings, or MariaDB in a pod with a volume."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_kubernetes as kubernetes
from mlplatform.k8s.pod import Command, Container, Pod, Probe, Probes, Resources
from mlplatform.k8s.pvc import persistent_volume_claim
from mlplatform.k8s.volumes import Claim, EmptyDir, Mount, SecretFiles
from mlplatform.kubeflow.deployment_factory import DeploymentFactory, pod
from mlplatform.kubeflow.kubeflow_images import IMAGES

from infra.secrets import RandomPassword
from settings.platform import KubeflowSettings

NAME = "mysql"
PORT = 3306
SECRET = "mysql-secret"
USER = "kubeflow"
PIPELINES, METADATA = "mlpipeline", "metadb"
SERVER_USER = 999
"""The user ID of the server in its image."""
DATA = "/var/lib/mysql"
SOCKET = "--socket=/run/mysqld/mysqld.sock"
CLIENT_FILE = "/etc/kubeflow/client.cnf"
"""File of the pod with the login of clients."""
FIRST_START = f"""cd {DATA}
! test -d data/mysql || exit 0
rm -rf data.new
mariadb-install-db --no-defaults --datadir={DATA}/data.new --auth-root-authentication-method=normal \\
  --skip-test-db --skip-name-resolve
sync -f data.new
mv -T data.new data"""
"""Script that installs the system tables, and gives them their name once they are complete."""


@dataclass(frozen=True)
class Database:
    """A MySQL server with the databases `pipelines` and `metadata`; `secret` has its `username` and `password`."""

    host: str
    port: int
    user: str
    password: pulumi.Output[str]
    pipelines: str
    metadata: str
    secret: kubernetes.core.v1.Secret
    resources: Sequence[pulumi.Resource]

    @property
    def address(self) -> str:
        """Return `host:port`."""
        return f"{self.host}:{self.port}"


def database(factory: DeploymentFactory, settings: KubeflowSettings) -> Database:
    """Use the database of the settings, or create a server with a volume of the default class."""
    if (external := settings.database) is None:
        return _create_database(factory, settings.size_gb)
    password = pulumi.Output.secret(external.password.get_secret_value())
    login = factory.secret(SECRET, {"username": external.user, "password": password})
    return Database(
        external.host, external.port, external.user, password, external.pipelines, external.metadata, login, [login]
    )


def _create_database(factory: DeploymentFactory, size_gb: int) -> Database:
    password = RandomPassword("kubeflow-database-password").value
    secret = factory.secret(
        SECRET,
        {
            "username": USER,
            "password": password,
            "start.sql": password.apply(_init_statements),
            "client.cnf": pulumi.Output.concat("[client]\nuser=", USER, "\npassword=", password, "\n"),
        },
    )
    volume = persistent_volume_claim(NAME, factory.namespace, factory.labels(NAME), size_gb)
    deployment = factory.deployment(NAME, _pod(), volume, factory.allow_ingress(NAME, PORT), settings=[secret])
    service = factory.service(NAME, NAME, {"mysql": (PORT, PORT)})
    return Database(NAME, PORT, USER, password, PIPELINES, METADATA, secret, [service, deployment])


def _pod() -> Pod:
    resources = Resources(cpu=("50m", "1"), memory=("128Mi", "512Mi"), ephemeral_storage=("50Mi", "1Gi"))
    mounts = [Mount("data", DATA), Mount("run", "/run/mysqld"), Mount("tmp", "/tmp")]
    ping = Command(["mariadb-admin", f"--defaults-file={CLIENT_FILE}", SOCKET, "ping"])
    server = Container(
        NAME,
        IMAGES["database"],
        resources,
        command=[
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
        ports={"mysql": PORT},
        probes=Probes(
            startup=Probe(ping, period=1, timeout=5, failures=300),
            readiness=Probe(ping, period=10, timeout=5),
            liveness=Probe(ping, period=30, timeout=10, failures=6),
        ),
        mounts=[*mounts, Mount("settings", "/etc/kubeflow", read_only=True)],
    )
    install = Container("install", IMAGES["database"], resources, command=["sh", "-ec", FIRST_START], mounts=mounts)
    return pod(
        [server],
        {
            "data": Claim(NAME),
            "run": EmptyDir("10Mi"),
            "tmp": EmptyDir("500Mi"),
            "settings": SecretFiles(SECRET, {key: key for key in ("start.sql", "client.cnf")}),
        },
        init_containers=[install],
        user=SERVER_USER,
    )


def _init_statements(password: str) -> str:
    """Return the SQL that the server runs at each start; it is idempotent and applies a changed password."""
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
