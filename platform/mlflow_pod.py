"""The pod of MLflow in a cluster: an init container that prepares the databases, and the server."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import pulumi
from mlplatform.k8s.pod import Container, EnvironmentValue, HttpGet, Pod, Probe, Probes, Resources, SecretKey
from mlplatform.k8s.volumes import Claim, ConfigMapFiles, EmptyDir, Mount, SecretFiles
from mlplatform.mlflow_server.teams import TEAMS_FILE
from mlplatform.mlflow_server.users import ADMINISTRATOR, PASSWORDS

NAME = "mlflow"
"""Name of the Deployment, and of the Secret, the ConfigMap and the volume that its pod uses."""
CONTAINER_PORT = 5000
DATA = "/data"
SETTINGS = "/etc/mlflow"
PROGRAMS = "/etc/mlplatform"
PACKAGES_FOLDER = "/opt/mlplatform/packages"
"""The folder of the image with MLflow, as the Dockerfile names it."""
AUTH_FILE = "basic_auth.ini"
TEAMS = "teams.json"
"""File with what each team owns."""
AUTH = """[mlflow]
default_permission = {default}
database_uri = {users}
admin_username = admin
authorization_function = mlplatform.mlflow_server.authorization:authenticate_user
auth_cache_ttl_seconds = 60
"""
SESSION_KEY = "MLFLOW_FLASK_SERVER_SECRET_KEY"
MODULE = "mlplatform.mlflow_server"
SERVER = ("-m", "mlflow", "server", "--workers", "1", "--uvicorn-opts", "--timeout-keep-alive 300 --no-access-log")
"""Arguments of Python for the server.

A client that sends a request while the server closes the idle connection gets no answer, and may not repeat it. So the
server keeps idle connections longer than the door, and than pauses between requests of a client. A line for each
request would fill the disk of a computer that rotates no log.
"""


def auth_configuration(*, teams: bool, users: str = f"sqlite:///{DATA}/basic_auth.db") -> str:
    """Return MLflow's configuration of users, with the address of their database.

    Without teams, each user reads everything.
    """
    return AUTH.format(default="NO_PERMISSIONS" if teams else "READ", users=users)


def team_variables(folder: str) -> dict[str, str]:
    """Return the environment variables of a server with teams, whose file is in `folder`."""
    # MLflow then refuses requests for which it has no rule.
    return {TEAMS_FILE: f"{folder}/{TEAMS}", "MLFLOW_BASIC_AUTH_FAIL_CLOSED": "true"}


def mlflow_pod(
    image: pulumi.Input[str],
    plain: Mapping[str, pulumi.Input[str]],
    hidden: Iterable[str],
    prepare: Sequence[str] = (),
    *,
    teams: bool = False,
    volume: bool = True,
) -> Pod:
    """Return the pod of the server.

    Args:
        image: the image with MLflow.
        plain: environment variables of the server.
        hidden: names of the environment variables that are keys of the Secret.
        prepare: options of the program that prepares the databases.
        teams: whether the Secret has the file with teams.
        volume: whether the data are on a volume; otherwise they are in stores, and the server keeps nothing.
    """
    settings = {name: name for name in (AUTH_FILE, *([TEAMS] if teams else []))}
    environment: dict[str, EnvironmentValue] = {
        **plain,
        **(team_variables(SETTINGS) if teams else {}),
        "PYTHONPATH": f"{PROGRAMS}:{PACKAGES_FOLDER}",
        "MLFLOW_AUTH_CONFIG_PATH": f"{SETTINGS}/{AUTH_FILE}",
        # External host names are unknown here, and every request needs a password: disable the check of the Host
        # header.
        "MLFLOW_SERVER_ALLOWED_HOSTS": "*",
        **{name: SecretKey(NAME, name) for name in (PASSWORDS[ADMINISTRATOR], SESSION_KEY, *hidden)},
    }
    passwords = {name: SecretKey(NAME, name) for name in PASSWORDS.values()}
    resources = Resources(cpu=("100m", "1"), memory=("512Mi", "1Gi"), ephemeral_storage=("100Mi", "1Gi"))
    mounts = [
        Mount("data", DATA),
        Mount("settings", SETTINGS, read_only=True),
        Mount("programs", f"{PROGRAMS}/{MODULE.replace('.', '/')}", read_only=True),
        Mount("tmp", "/tmp"),
    ]
    health = HttpGet("/health", CONTAINER_PORT)
    databases = Container(
        "databases",
        image,
        resources,
        command=["python3", "-m", f"{MODULE}.prepare", *prepare],
        working_directory=DATA,
        environment={**environment, **passwords},
        mounts=mounts,
    )
    server = Container(
        NAME,
        image,
        resources,
        command=["python3", *SERVER, "--host", "0.0.0.0", "--port", str(CONTAINER_PORT), "--app-name", "basic-auth"],
        working_directory=DATA,
        environment=environment,
        ports={"http": CONTAINER_PORT},
        probes=Probes(
            startup=Probe(health, period=2, timeout=5, failures=120),
            readiness=Probe(health, period=5, timeout=5),
            liveness=Probe(health, period=20, timeout=5, failures=6),
        ),
        mounts=mounts,
    )
    volumes = {
        "data": Claim(NAME) if volume else EmptyDir("1Gi"),
        "settings": SecretFiles(NAME, settings),
        "programs": ConfigMapFiles(NAME),
        "tmp": EmptyDir("1Gi"),
    }
    return Pod([server], [databases], volumes, grace_seconds=5)
