"""MLflow: experiment tracking and model registry, with its web pages."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlplatform.mlflow_server as sources
import pulumi
import pulumi_kubernetes as kubernetes
from mlplatform.images.image import Image
from mlplatform.k8s.deployment import deployment, service
from mlplatform.k8s.namespace import Rule, namespace, tcp_ports
from mlplatform.k8s.program_files import program_files
from mlplatform.k8s.pvc import persistent_volume_claim
from mlplatform.k8s.service_url import service_url
from mlplatform.mlflow_pod import (
    AUTH_FILE,
    CONTAINER_PORT,
    DATA,
    MODULE,
    NAME,
    SERVER,
    SESSION_KEY,
    TEAMS,
    auth_configuration,
    mlflow_pod,
)
from mlplatform.mlflow_server.prepare import BACKED_UP
from mlplatform.mlflow_server.teams import SHARED, team_user
from mlplatform.mlflow_server.users import ADMINISTRATOR, DOOR_KEY, PASSWORDS, READER, WRITER
from mlplatform.mlflow_stores import replicated_variables, store_egress, store_variables
from mlplatform.stores.replicated_stores import ReplicatedStores
from mlplatform.tracking_access import TrackingAccess

from infra.cluster import Cluster
from infra.kubernetes_client.port_forward import PodTarget
from infra.local.local_process import HOST, PYTHON, LocalProcess
from infra.registry import ContainerRegistry
from infra.secrets import RandomPassword
from settings.platform import TrackingSettings

NAMESPACE = "mlplatform-tracking"
PODS = {"app.kubernetes.io/name": NAME}
DISABLED_FEATURES = {
    # The job runner starts four more processes, for scheduled evaluations of language models.
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
Login = tuple[str, pulumi.Output[str]]
"""User and secret password."""


@dataclass(frozen=True)
class TeamLogins:
    """Logins of a team's programs: `writer` for steps, `reader` for model servers."""

    writer: Login
    reader: Login


@dataclass(frozen=True)
class TrackingServer:
    """Addresses of an MLflow server.

    Args:
        inside_url: its address for pods; equal to `url` for a server on this computer.
        access: its address and the administrator's credentials, which stay on this computer; the password is secret.
        resources: resources that a client of the server waits for.
        writer: login for steps of pipelines; None for a server without authentication.
        reader: login for model servers; None for a server without authentication.
        teams: logins of the programs of each team.
    """

    inside_url: pulumi.Output[str]
    access: TrackingAccess[pulumi.Input[str]]
    resources: list[pulumi.Resource]
    writer: Login | None = None
    reader: Login | None = None
    teams: Mapping[str, TeamLogins] = field(default_factory=dict)

    @property
    def url(self) -> pulumi.Output[str]:
        """Return the address of the server for a person."""
        return pulumi.Output.from_input(self.access.url)

    @property
    def reading_access(self) -> TrackingAccess[pulumi.Input[str]]:
        """Return the access of a program that changes nothing, such as another stack that copies the models."""
        username, password = self.reader or (None, None)
        return replace(self.access, username=username, password=password)


def tracking_process(settings: TrackingSettings, directory: Path) -> TrackingServer:
    """Start MLflow as a process of this computer.

    Runs and models are in a SQLite file and artifacts in a folder below `directory`, unless the settings name stores.
    """
    plain, secret = store_variables(settings, "")
    process = LocalProcess(
        NAME,
        command=[
            *(PYTHON, "-m", f"{MODULE}.prepare", *_prepare_options(settings)),
            *(PYTHON, *SERVER, "--host", HOST, "--port", str(settings.port)),
        ],
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
    and their passwords are always on that volume. With replicated stores, everything is in them, and there is no
    volume.
    """

    server: TrackingServer

    def __init__(
        self,
        settings: TrackingSettings,
        cluster: Cluster,
        registry: ContainerRegistry,
        libraries: Image,
        door_key: pulumi.Output[str] | None = None,
        teams: Mapping[str, Any] | None = None,
        stores: ReplicatedStores | None = None,
    ) -> None:
        """Create the server.

        Args:
            settings: the settings.
            cluster: the cluster.
            registry: the registry of images.
            libraries: the image with MLflow.
            door_key: the server believes the user, role and teams that a request with this key names.
            teams: what each team owns, see `mlplatform.mlflow_server.teams`; None or {} without teams.
            stores: replicated stores of the stack, if it has them.
        """
        super().__init__("mlplatform:platform:MlflowServer", NAME)
        plain, hidden = replicated_variables(stores) if stores else store_variables(settings, f"{DATA}/")
        hidden = {**hidden, **({DOOR_KEY: door_key} if door_key else {})}
        tracking = namespace(NAMESPACE, cluster.under(self), registry, volumes=True)
        owned = pulumi.ResourceOptions(parent=self)
        passwords = {
            ADMINISTRATOR: RandomPassword("mlflow-password", owned).value,
            WRITER: RandomPassword("mlflow-writer-password", owned).value,
            READER: RandomPassword("mlflow-reader-password", owned).value,
        }
        logins = {team: _team_logins(team, owned) for team in teams or () if team != SHARED}
        secret = kubernetes.core.v1.Secret(
            NAME,
            metadata={"name": NAME, "namespace": NAMESPACE, "labels": PODS},
            string_data={
                **{PASSWORDS[user]: password for user, password in passwords.items()},
                SESSION_KEY: RandomPassword("mlflow-session-key", owned).value,
                AUTH_FILE: _auth_file(stores, teams=bool(teams)),
                **({TEAMS: _teams_file(teams, logins)} if teams else {}),
                **hidden,
            },
            opts=tracking.options(),
        )
        programs = kubernetes.core.v1.ConfigMap(
            NAME,
            metadata={"name": NAME, "namespace": NAMESPACE, "labels": PODS},
            data=program_files(sources),
            opts=tracking.options(),
        )
        data: Sequence[pulumi.Resource] = (
            stores.resources if stores else [persistent_volume_claim(NAME, tracking, PODS, settings.size_gb)]
        )
        egress: Sequence[Rule] = stores.egress if stores else store_egress(settings)
        # Users open the pages from any address: the password protects them.
        policy = tracking.allow(NAME, PODS, ingress=[tcp_ports(CONTAINER_PORT)], egress=egress)
        variables, prepare = {**DISABLED_FEATURES, **plain}, _prepare_options(settings)
        pod = mlflow_pod(libraries.reference, variables, hidden, prepare, teams=bool(teams), volume=stores is None)
        # A SQLite file takes one writer: the old pod ends before the new pod starts.
        server = deployment(NAME, tracking, PODS, pod, *data, policy, settings=[secret, programs])
        ports = {"http": (settings.port, CONTAINER_PORT)}
        address = service(NAME, tracking, PODS, PODS, ports, server, kind=settings.service)
        inside_url = f"http://{NAME}.{NAMESPACE}.svc:{settings.port}"
        selector = ",".join(f"{key}={value}" for key, value in PODS.items())
        in_cluster = settings.service == "ClusterIP"
        self.server = TrackingServer(
            inside_url=pulumi.Output.from_input(inside_url),
            access=TrackingAccess(
                url=service_url(address, settings.service, cluster, inside_url),
                username=ADMINISTRATOR,
                password=passwords[ADMINISTRATOR],
                pod=PodTarget(cluster.kubeconfig, NAMESPACE, selector, CONTAINER_PORT) if in_cluster else None,
            ),
            resources=[address],
            writer=(WRITER, passwords[WRITER]),
            reader=(READER, passwords[READER]),
            teams=logins,
        )
        self.register_outputs({"url": self.server.url})


def _team_logins(team: str, options: pulumi.ResourceOptions) -> TeamLogins:
    """Create the passwords of a team's programs."""
    writer, reader = (
        (team_user(user, team), RandomPassword(f"mlflow-{user}-{team}-password", options).value)
        for user in (WRITER, READER)
    )
    return TeamLogins(writer, reader)


def _auth_file(stores: ReplicatedStores | None, *, teams: bool) -> pulumi.Input[str]:
    if stores is None:
        return auth_configuration(teams=teams)
    return stores.database.url("users").apply(lambda users: auth_configuration(teams=teams, users=users))


def _teams_file(teams: Mapping[str, Any], logins: Mapping[str, TeamLogins]) -> pulumi.Output[str]:
    """Return teams.json, which `mlplatform.mlflow_server.teams` describes."""
    passwords = {
        team: pulumi.Output.all(**{WRITER: each.writer[1], READER: each.reader[1]}) for team, each in logins.items()
    }

    def content(known: Mapping[str, Any]) -> str:
        return json.dumps({team: {**owned, "passwords": known.get(team, {})} for team, owned in teams.items()})

    return pulumi.Output.secret(pulumi.Output.all(**passwords).apply(content))


def _prepare_options(settings: TrackingSettings) -> list[str]:
    """Return the options of the program that prepares the databases."""
    return [BACKED_UP] if settings.upgrade_database else []
