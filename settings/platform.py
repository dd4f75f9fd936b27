"""Settings of the namespace `platform`: services beneath the workloads."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, field_validator, model_validator

from settings.paths import PROJECT
from settings.types import Name, Port, Section, ServiceType


class ArtifactStoreSettings(Section):
    """A bucket that speaks S3: Amazon's own, or the one at `endpoint_url`."""

    url: str = Field(pattern=r"^s3://[a-z0-9.-]+(/.*)?$")
    access_key: str
    secret_key: SecretStr
    endpoint_url: str | None = Field(default=None, pattern=r"^https?://")
    region: str = "us-east-1"


class TrackingSettings(Section):
    """The MLflow server."""

    port: Port = 5050
    retain: bool = True
    """On this computer: `destroy` leaves runs and models for the next `up`. In a cluster they go with their volume."""
    service: ServiceType = "ClusterIP"
    """In a cluster: how it is reached from outside. By ClusterIP it is not; `pulumi` itself then forwards a port."""
    size_gb: int = Field(default=5, ge=1, le=10_000)
    """In a cluster: the volume of its database and artifacts."""
    database_url: SecretStr | None = None
    """`postgresql://user:password@host/database` for runs and models, in place of a file of its own."""
    artifacts: ArtifactStoreSettings | None = None
    """Where models and other files of runs lie, in place of a folder of its own."""

    @field_validator("database_url")
    @classmethod
    def _is_postgresql(cls, url: SecretStr | None) -> SecretStr | None:
        if url and not url.get_secret_value().startswith("postgresql://"):
            raise ValueError("has to begin with postgresql://")
        return url


class BlobSettings(Section):
    """Azure Blob Storage that pipelines read: your account, or without one the Azurite emulator on `port`."""

    port: Port = 10000
    account_url: str | None = Field(default=None, pattern=r"^https?://")
    account_key: SecretStr | None = None
    container: Name = "datasets"
    upload: dict[str, str] = Field(default_factory=dict)
    """Blob name -> file of this project that is uploaded to it."""

    @model_validator(mode="after")
    def _key_belongs_to_an_account(self) -> BlobSettings:
        if (self.account_url is None) != (self.account_key is None):
            raise ValueError("account_url and account_key belong together: set both, or neither for the emulator")
        for blob, file in self.upload.items():
            if not (PROJECT / file).is_file():
                raise ValueError(f"upload.{blob}: there is no file {file} in the project")
        return self


class RegistryLoginSettings(Section):
    """Who shows which password to a registry."""

    username: str
    password: SecretStr


class RegistrySettings(Section):
    """The private registry: your own at `url`, or without one the bundle's, which this computer serves at `address`."""

    url: str | None = Field(default=None, pattern=r"^https://[^/]+(/.+[^/])?$")
    username: str | None = None
    password: SecretStr | None = None
    ca_file: str | None = None
    """Its certificate authority in PEM format, where no public one signed its certificate."""
    builder: RegistryLoginSettings | None = None
    """Who pushes the images that are built here; `username`, whose password nodes and pods have, where unset."""
    address: str | None = None
    """The bundle's registry: an address of this computer that the machines reach. In the lab, its bridge."""
    port: Port = 5443

    @model_validator(mode="after")
    def _own_or_the_bundles(self) -> RegistrySettings:
        if (self.url is None) != (self.password is None) or (self.url is None) != (self.username is None):
            raise ValueError("url, username and password belong together: set all, or none for the bundle's registry")
        if self.builder and self.url is None:
            raise ValueError(
                "builder: is for your own registry, at url; the bundle's takes images on this computer alone"
            )
        if self.ca_file and not Path(self.ca_file).expanduser().is_file():
            raise ValueError(f"ca_file: there is no file {self.ca_file}")
        return self


class LoadBalancerSettings(Section):
    """MetalLB: addresses of the machines' network that Services of type LoadBalancer get."""

    addresses: str
    """`first-last`, or a subnet in CIDR notation."""

    @field_validator("addresses")
    @classmethod
    def _is_a_range(cls, addresses: str) -> str:
        first, _, last = addresses.partition("-")
        if not last:
            return str(ipaddress.IPv4Network(addresses))
        if ipaddress.IPv4Address(first) > ipaddress.IPv4Address(last):
            raise ValueError(f"{first} comes after {last}")
        return addresses


class KubeflowDatabaseSettings(Section):
    """A MySQL or MariaDB server with two empty databases, and a user who may do anything in them."""

    host: str
    port: int = Field(default=3306, ge=1, le=65535)
    user: str
    password: SecretStr
    pipelines: str = "mlpipeline"
    metadata: str = "metadb"


class ObjectStoreSettings(Section):
    """A bucket that speaks S3."""

    host: str
    port: int = Field(default=443, ge=1, le=65535)
    bucket: str
    access_key: str
    secret_key: SecretStr
    secure: bool = True
    region: str = "us-east-1"


class KubeflowSettings(Section):
    """Kubeflow Pipelines in the cluster, for `pipelines: kubeflow`."""

    service: ServiceType = "ClusterIP"
    """How its pages are reached from outside."""
    port: Port = 8080
    size_gb: int = Field(default=10, ge=1, le=10_000)
    """Each of the volumes of its database and its object store."""
    database: KubeflowDatabaseSettings | None = None
    objects: ObjectStoreSettings | None = None
    keep_runs: bool = True
    """Whether the history of runs stays when a pipeline leaves the stack."""


class MonitoringSettings(Section):
    """Prometheus in the cluster, with alerts and a page on the state of all."""

    service: ServiceType = "ClusterIP"
    """How its page is reached from outside."""
    port: Port = 9090
    size_gb: int = Field(default=10, ge=1, le=10_000)
    """The volume of what it measured."""
    retention_days: int = Field(default=15, ge=1, le=3650)
    """How long it keeps that, as long as it fits into the volume."""
    alerts_url: SecretStr | None = None
    """A webhook that is told of alerts; without one they are on the page alone."""

    @field_validator("alerts_url")
    @classmethod
    def _is_an_address(cls, url: SecretStr | None) -> SecretStr | None:
        if url and not re.match(r"https?://[^/]", url.get_secret_value()):
            raise ValueError("has to begin with https:// or http://")
        return url


class PlatformSettings(Section):
    """What runs beneath the workloads."""

    pipelines: Literal["embedded", "job", "kubeflow"] = "embedded"
    kubeflow: KubeflowSettings = KubeflowSettings()
    network: Literal["weave", "flannel"] = "weave"
    weave_fast_datapath: bool = True
    """Let the kernel forward packets between nodes; it takes Open vSwitch in the nodes' kernel."""
    load_balancer: LoadBalancerSettings | None = None
    storage: Literal["vendor", "openebs"] = "vendor"
    """In a cluster that exists: whose volumes are taken. One that kubeadm makes has OpenEBS's."""
    storage_class: str | None = Field(default=None, pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$")
    """In a cluster that exists: the vendor's class that is taken; its default one where unset."""
    metrics: Literal["vendor", "own"] = "vendor"
    """In a cluster that exists: whose metrics-server autoscaling asks. One that kubeadm makes has its own."""
    registry: RegistrySettings = RegistrySettings()
    tracking: TrackingSettings = TrackingSettings()
    blobs: BlobSettings | None = None
    monitoring: MonitoringSettings | None = None
    """None for none."""

    @model_validator(mode="after")
    def _class_is_the_vendors(self) -> PlatformSettings:
        if self.storage == "openebs" and self.storage_class:
            raise ValueError(f"storage_class: {self.storage_class} is a vendor's, and storage: openebs brings its own")
        return self
