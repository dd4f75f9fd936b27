"""Settings of the namespace `platform`: services that the workloads use."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from settings.services.backup_settings import BackupSettings
from settings.services.blob_settings import BlobSettings
from settings.services.door_settings import DoorSettings
from settings.services.load_balancer_settings import LoadBalancerSettings
from settings.services.notebook_settings import NotebookSettings
from settings.services.retention import RetentionSettings
from settings.services.s3_settings import ArtifactStoreSettings, DataStoreSettings
from settings.types import Name, Port, Section, ServiceType, Subnet


class TrackingSettings(Section):
    """The MLflow server: runs, models and their files."""

    port: Port = 5050
    """Port of MLflow. Port 5000 is taken by AirPlay on macOS."""
    retain: bool = True
    """On this computer: `destroy` keeps runs and models for the next `up`. The value of the last `up` decides. In a
    cluster, `platform:retain_volumes` decides on their volume. A cluster that this stack created goes with it: to keep
    runs and models then, set `database_url` and `artifacts`, or [move](migrate.md) them first."""
    service: ServiceType = "ClusterIP"
    """In a cluster: type of MLflow's Service. A `ClusterIP` cannot be reached from outside. `pulumi` then forwards a
    port for its requests, and `make pages` forwards MLflow's pages to this computer."""
    size_gb: int = Field(default=5, ge=1, le=10_000)
    """In a cluster: size in GB of the volume for MLflow's database and artifacts. With `platform:stores: replicated`:
    size of each of the six volumes."""
    database_url: SecretStr | None = None
    """Database for runs and models: `postgresql://user:password@host/database`. Unset: a SQLite file."""
    upgrade_database: bool = False
    """With `database_url`: a newer MLflow may upgrade the database. Make a backup first. A SQLite file is always
    upgraded, and the file of before stays beside it."""
    artifacts: ArtifactStoreSettings | None = None
    """S3 bucket for models and other files of runs. Unset: a folder."""

    @property
    def external(self) -> bool:
        """True if a store of MLflow is outside the stack."""
        return bool(self.database_url or self.artifacts)

    @field_validator("database_url")
    @classmethod
    def _check_database_url(cls, url: SecretStr | None) -> SecretStr | None:
        if url:
            _require_host(url.get_secret_value())
        return url


def _require_host(url: str) -> None:
    """Raise ValueError unless the address has a host and, optionally, a port; the text of the error has no password."""
    if not url.startswith("postgresql://"):
        raise ValueError("has to begin with postgresql://")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError("has a wrong host or port: postgresql://user:password@host:port/database") from error
    if not host:
        raise ValueError("has no host: postgresql://user:password@host:port/database")


class RegistryLoginSettings(Section):
    """A login to a container registry."""

    username: str
    """User who may push the images that are built here. Nodes and pods then use `platform:registry.username`, which
    needs the right to pull only."""
    password: SecretStr
    """Password of that user."""


class RegistrySettings(Section):
    """The container registry: the one at `url`, or the bundle's registry, which this computer serves."""

    url: str | None = Field(default=None, pattern=r"^https://[^/]+(/.+[^/])?$")
    """Address of a registry, `https://host[:port][/project]`. Set it together with `username` and `password`. Fill the
    registry with `python -m airgap.bundle push`. Required with `infra:cluster: existing`, except for AKS with
    `infra:azure.registry: true`."""
    username: str | None = None
    """User who pulls images. Nodes and pods get this login. Without `builder`, this user also pushes images."""
    password: SecretStr | None = None
    """Password of that user."""
    ca_file: str | None = None
    """File with the certificate authority of the registry, in PEM format. Unset: a public authority."""
    builder: RegistryLoginSettings | None = None
    """Second login, for pushing images. Unset: `username` and `password`."""
    address: str | None = None
    """Without `url`: address of this computer at which the machines reach the bundle's registry. Unset: the address on
    the bridge of the lab; other stacks need `url` or `address`."""
    port: Port = 5443
    """Without `url`: port of the bundle's registry."""

    @model_validator(mode="after")
    def _check_login(self) -> RegistrySettings:
        if (self.url is None) != (self.password is None) or (self.url is None) != (self.username is None):
            raise ValueError("url, username and password belong together: set all, or none for the bundle's registry")
        if self.builder and self.url is None:
            raise ValueError(
                "builder: is for your own registry, at url; the bundle's registry accepts pushes from this computer "
                "only. Set url, username and password, or remove builder"
            )
        if self.ca_file and not Path(self.ca_file).expanduser().is_file():
            raise ValueError(f"ca_file: there is no file {self.ca_file}")
        return self


class KubeflowDatabaseSettings(Section):
    """A MySQL or MariaDB server with two empty databases."""

    host: str
    """Host name or address of the server."""
    port: int = Field(default=3306, ge=1, le=65535)
    """Port of the server."""
    user: str
    """User with all rights in both databases."""
    password: SecretStr
    """Password of that user."""
    pipelines: str = "mlpipeline"
    """Name of the database for pipelines and runs."""
    metadata: str = "metadb"
    """Name of the database for the metadata of steps."""


class ObjectStoreSettings(Section):
    """An S3 bucket for Kubeflow Pipelines."""

    host: str
    """Host name or address of the store."""
    port: int = Field(default=443, ge=1, le=65535)
    """Port of the store."""
    bucket: str
    """Name of the bucket."""
    access_key: str
    """Access key of the bucket."""
    secret_key: SecretStr
    """Secret key of the bucket."""
    secure: bool = True
    """Use TLS."""
    region: str = "us-east-1"
    """Region of the bucket."""


class KubeflowSettings(Section):
    """Kubeflow Pipelines in the cluster, for `platform:pipelines: kubeflow`."""

    service: ServiceType = "ClusterIP"
    """Type of the Service for its pages, which are protected by a password. `make pages` forwards a `ClusterIP` to this
    computer."""
    port: Port = 8080
    """Port of its pages."""
    size_gb: int = Field(default=10, ge=1, le=10_000)
    """Size in GB of each of the two volumes, for the database and for the object store."""
    database: KubeflowDatabaseSettings | None = None
    """MySQL or MariaDB server. Unset: a MariaDB pod in the cluster. Changing this in a running stack uploads pipelines
    and schedules to the new server at the next `up`. The history of runs stays in the old database, whose volume
    `platform:retain_volumes` keeps."""
    objects: ObjectStoreSettings | None = None
    """S3 object store. Unset: a SeaweedFS pod in the cluster."""
    keep_runs: bool = True
    """Keep the history of runs when a pipeline is removed from the stack."""


class MonitoringSettings(Section):
    """Prometheus with alerts and a status page, see [Monitoring](operate.md#monitoring)."""

    service: ServiceType = "ClusterIP"
    """Type of the Service for the status page, which is protected by a password. `make pages` forwards a `ClusterIP` to
    this computer."""
    port: Port = 9090
    """Port of the status page."""
    size_gb: int = Field(default=10, ge=1, le=10_000)
    """Size in GB of the volume for measurements."""
    retention_days: int = Field(default=15, ge=1, le=3650)
    """Days to keep measurements. They are deleted earlier when they fill four fifths of the volume."""
    alerts_url: SecretStr | None = None
    """Webhook that Alertmanager sends alerts to. Unset: no Alertmanager; alerts appear on the status page only."""

    @field_validator("alerts_url")
    @classmethod
    def _check_alerts_url(cls, url: SecretStr | None) -> SecretStr | None:
        if url and not re.match(r"https?://[^/]", url.get_secret_value()):
            raise ValueError("has to begin with https:// or http://")
        return url


class PlatformSettings(Section):
    """The pipeline engine and the services of the platform."""

    pipelines: Literal["embedded", "job", "kubeflow"] = "embedded"
    """Pipeline engine. `embedded` runs pipelines on this computer. `job` creates a Job of the cluster for each run.
    `kubeflow` uses Kubeflow Pipelines, which creates a pod for each step."""
    kubeflow: KubeflowSettings = KubeflowSettings()
    """Kubeflow Pipelines, for `platform:pipelines: kubeflow`."""
    network: Literal["weave", "flannel"] = "weave"
    """Pod network of a kubeadm cluster. `weave` encrypts traffic and enforces NetworkPolicies; `flannel` does neither,
    and `pulumi up` logs a warning."""
    weave_fast_datapath: bool = True
    """Forward packets between nodes in the kernel. The kernel of the nodes needs Open vSwitch. Not with
    `infra:cluster: existing`."""
    load_balancer: LoadBalancerSettings | None = None
    """MetalLB for Services of type LoadBalancer. Unset: no MetalLB."""
    storage: Literal["vendor", "openebs"] = "vendor"
    """With `infra:cluster: existing`: the vendor's volumes, or folders of the nodes by `openebs`. A kubeadm cluster
    always has OpenEBS."""
    storage_class: str | None = Field(default=None, pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$")
    """With `infra:cluster: existing`: storage class of the vendor. Unset: the default class of the cluster."""
    metrics: Literal["vendor", "own"] = "vendor"
    """With `infra:cluster: existing`: `vendor` uses the metrics-server of the cluster, `own` installs one where the
    cluster has none. A kubeadm cluster always gets one."""
    retain_volumes: bool = True
    """In a cluster: `destroy` and the removal of a service leave their volumes, with their claims and namespaces. The
    next `up` takes them again. A cluster that this stack created goes with its volumes."""
    egress: list[Subnet] = Field(default=[ipaddress.IPv4Network("0.0.0.0/0")])
    """In a cluster: addresses that steps of pipelines may connect to, in CIDR notation. Nodes, the API server and the
    metadata services of clouds stay closed, unless a range of the list is within them, as in `10.0.0.5/32`."""
    allow_plain_http: bool = False
    """Offer pages with a password at a `LoadBalancer` or `NodePort` without TLS, and use an `account_url` with
    `http://`. Every machine in between can then read the password or token. The network of a lab needs no such
    permission."""
    registry: RegistrySettings = RegistrySettings()
    """Container registry that machines and pods pull from."""
    tracking: TrackingSettings = TrackingSettings()
    """MLflow server."""
    stores: Literal["single", "replicated"] | None = None
    """Stores of MLflow in a cluster. `replicated` creates PostgreSQL and an S3 store with copies on three machines, see
    [Replicated stores](operate.md#replicated-stores). `single` takes one volume, or the stores of
    `platform:tracking`. Unset: `replicated` with `infra:cluster: kubeadm`, three machines or more, and
    no stores in `platform:tracking`; else `single`. Volumes of a vendor's cluster outlive its machines."""
    blobs: BlobSettings | None = None
    """Azure Blob Storage for the data of pipelines. Unset: pipelines read from other addresses only."""
    s3: DataStoreSettings | None = None
    """S3 store that steps and notebooks read and write, see [S3 stores](pipelines.md#s3-stores). Unset: they have no
    keys; on this computer, those of its user."""
    monitoring: MonitoringSettings | None = None
    """Prometheus in the cluster. Set `{}` to accept the defaults. Unset: no monitoring."""
    door: DoorSettings | None = None
    """Address with HTTPS and sign-on for all pages and models of a cluster. Unset: no door."""
    notebooks: NotebookSettings | None = None
    """JupyterLab for each person behind the door. Set `{}` to accept the defaults. Unset: no notebooks."""
    backup: BackupSettings | None = None
    """Backups of the stack's data and state. Unset: no backups."""
    backup_identity: Name | None = None
    """Identity of the stack among those that have its name and its backup target. The first `make backup` sets it with
    `pulumi config set`. Do not commit it if several persons have a stack of this name."""
    keep: RetentionSettings = RetentionSettings()
    """Runs and model versions to keep. Unset: everything is kept."""

    @model_validator(mode="after")
    def _check_storage_class(self) -> PlatformSettings:
        if self.storage == "openebs" and self.storage_class:
            raise ValueError(
                f"storage_class: {self.storage_class} is a vendor's, and storage: openebs brings its own; remove one "
                "of the two settings"
            )
        return self
