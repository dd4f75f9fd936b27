"""MLflow: experiment tracking and model registry, with its web pages."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import pulumi
import pulumi_kubernetes as kubernetes
from mlplatform.images.image import Image
from mlplatform.k8s.deployment import deployment, service
from mlplatform.k8s.namespace import namespace, tcp_ports
from mlplatform.k8s.pvc import persistent_volume_claim
from mlplatform.k8s.service_url import service_url
from mlplatform.mlflow_pod import (
    AUTH,
    AUTH_FILE,
    CONTAINER_PORT,
    MODULE,
    NAME,
    SERVER,
    SESSION_KEY,
    mlflow_pod,
    program_files,
)
from mlplatform.mlflow_server.prepare import BACKED_UP
from mlplatform.mlflow_server.users import ADMINISTRATOR, DOOR_KEY, PASSWORDS, READER, WRITER
from mlplatform.mlflow_stores import store_egress, store_variables
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
class TrackingServer:
    """Addresses of an MLflow server.

    Args:
        inside_url: its address for pods; equal to `url` for a server on this computer.
        access: its address and the administrator's credentials, which stay on this computer; the password is secret.
        resources: resources that a client of the server waits for.
        writer: login for steps of pipelines; None for a server without authentication.
        reader: login for model servers; None for a server without authentication.
    """

    inside_url: pulumi.Output[str]
    access: TrackingAccess[pulumi.Input[str]]
    resources: list[pulumi.Resource]
    writer: Login | None = None
    reader: Login | None = None

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
    and their passwords are always on that volume.
    """

    server: TrackingServer

    def __init__(
        self,
        settings: TrackingSettings,
        cluster: Cluster,
        registry: ContainerRegistry,
        libraries: Image,
        door_key: pulumi.Output[str] | None = None,
    ) -> None:
        """Create the server; with a `door_key`, it believes the user and role that a request with this key names."""
        super().__init__("mlplatform:platform:MlflowServer", NAME)
        plain, hidden = store_variables(settings, "/data/")
        hidden = {**hidden, **({DOOR_KEY: door_key} if door_key else {})}
        tracking = namespace(NAMESPACE, cluster.under(self), registry, volumes=True)
        owned = pulumi.ResourceOptions(parent=self)
        passwords = {
            ADMINISTRATOR: RandomPassword("mlflow-password", owned).value,
            WRITER: RandomPassword("mlflow-writer-password", owned).value,
            READER: RandomPassword("mlflow-reader-password", owned).value,
        }
        secret = kubernetes.core.v1.Secret(
            NAME,
            metadata={"name": NAME, "namespace": NAMESPACE, "labels": PODS},
            string_data={
                **{PASSWORDS[user]: password for user, password in passwords.items()},
                SESSION_KEY: RandomPassword("mlflow-session-key", owned).value,
                AUTH_FILE: AUTH,
                **hidden,
            },
            opts=tracking.options(),
        )
        programs = kubernetes.core.v1.ConfigMap(
            NAME,
            metadata={"name": NAME, "namespace": NAMESPACE, "labels": PODS},
            data=program_files(),
            opts=tracking.options(),
        )
        volume = persistent_volume_claim(NAME, tracking, PODS, settings.size_gb)
        # Users open the pages from any address: the password protects them.
        policy = tracking.allow(NAME, PODS, ingress=[tcp_ports(CONTAINER_PORT)], egress=store_egress(settings))
        pod = mlflow_pod(libraries.reference, {**DISABLED_FEATURES, **plain}, hidden, _prepare_options(settings))
        # A SQLite file takes one writer: the old pod ends before the new pod starts.
        server = deployment(NAME, tracking, PODS, pod, volume, policy, settings=[secret, programs])
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
        )
        self.register_outputs({"url": self.server.url})


def _prepare_options(settings: TrackingSettings) -> list[str]:
    """Return the options of the program that prepares the databases."""
    return [BACKED_UP] if settings.upgrade_database else []
