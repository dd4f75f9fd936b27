"""Every setting of a stack: one schema, typed and validated, for all stacks.

The committed settings of a stack are `Pulumi.<stack>.yaml`; what `pulumi config set` writes (into the ignored
folder `.stacks`) is laid over them, key by key. A setting that is wrong ends the program with a message that
names the setting, what it was and what is allowed, before any resource is touched.
"""

from __future__ import annotations

import ipaddress
import itertools
import json
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import pulumi
import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

PROJECT = Path(__file__).resolve().parent.parent
# The link that is there makes it a part of the package for whoever installs one.
VERSIONS = tomllib.loads((Path(__file__).with_name("versions.toml")).read_text())
OF_PULUMI = frozenset({"pulumi", "kubernetes", "command", "azure-native"})
"""Namespaces that Pulumi and its providers read themselves."""
Port = Annotated[int, Field(ge=1024, le=65535)]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z]([a-z0-9-]{0,48}[a-z0-9])?$")]
HostName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
HostKey = Annotated[str, StringConstraints(pattern=r"^(ssh|ecdsa)-\S+ [A-Za-z0-9+/=]+$")]
"""A machine's public key, `ssh-ed25519 AAAA...`: what `ssh-keyscan` prints behind the address."""
ServiceType = Literal["ClusterIP", "NodePort", "LoadBalancer"]
Subnet = ipaddress.IPv4Network
PRIVATE = tuple(ipaddress.IPv4Network(net) for net in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"))
"""RFC 1918."""
SECRETS = frozenset(
    {"account_key", "alerts_url", "database_url", "kubeconfig", "password", "private_key", "secret_key"}
)
"""Names of settings whose values no message repeats."""
OF_MAKERS = {
    "existing": ({"network", "weave_fast_datapath"}, "a cluster that exists has its vendor's network"),
    "kubeadm": ({"storage", "storage_class", "metrics"}, "what a vendor gives is for infra:cluster: existing"),
}
"""By how the cluster is made: settings of the platform that are not for it, and why."""
Parameter = bool | int | float | str | list[Any] | dict[str, Any]
CRON = (
    ("second", 0, 59),
    ("minute", 0, 59),
    ("hour", 0, 23),
    ("day of the month", 1, 31),
    ("month", 1, 12),
    ("day of the week", 0, 6),
)
"""The fields of a schedule with their least and greatest numbers."""
CRON_PART = re.compile(r"(?:\*|(\d+)(?:-(\d+))?)(?:/([1-9]\d*))?")
DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
CRON_NAMES = {
    name: str(number) for names, first in ((DAYS, 0), (MONTHS, 1)) for number, name in enumerate(names, first)
}


def _cron(written: str) -> str:
    """A schedule as cron writes it, in all six fields: the first, of the seconds, may be left out, and is 0 then."""
    fields = re.sub(r"[A-Z]+", lambda word: CRON_NAMES.get(word[0], word[0]), written.upper()).split()
    if len(fields) == 5:
        fields.insert(0, "0")
    if len(fields) != len(CRON):
        raise ValueError("write five fields as cron does, or six with the seconds first, as in 30 2 * * MON-FRI")
    for field, (name, least, greatest) in zip(fields, CRON, strict=True):
        for part in field.split(","):
            found = CRON_PART.fullmatch(part)
            numbers = [int(number) for number in found.groups()[:2] if number] if found else [-1]
            if numbers != sorted(numbers) or any(not least <= number <= greatest for number in numbers):
                raise ValueError(
                    f"{part} is no {name}: write *, a number from {least} to {greatest}, a range as in "
                    f"{least}-{greatest}, and steps as in */2"
                )
    return " ".join(fields)


Schedule = Annotated[str, AfterValidator(_cron)]
"""Seconds, minutes, hours, days of the month, months and days of the week, in UTC."""


class SettingsError(pulumi.RunError):
    """Settings that cannot be used; the message has one line for each fault."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Lab(_Section):
    """Machines inside this computer: the first is the control plane, the others are workers."""

    size: int = Field(default=3, ge=1, le=10)
    subnet: Subnet = ipaddress.IPv4Network("10.20.0.0/24")
    """Of the bridge that connects them; this computer has its first address."""


class Bastion(_Section):
    """The machine through which the others are reached; user and key are the hosts' own unless given."""

    address: str
    port: int = Field(default=22, ge=1, le=65535)
    user: str | None = None
    host_key: HostKey


class Host(_Section):
    """One machine of your own."""

    name: HostName
    address: str
    """Where SSH reaches it from here."""
    private_address: str | None = None
    """What the other machines know it by, if that is another one."""
    role: Literal["control-plane", "worker"] = "worker"
    host_key: HostKey
    port: int = Field(default=22, ge=1, le=65535)


class Hosts(_Section):
    """Your own machines over SSH, with a user who may use sudo without a password."""

    user: str
    private_key: SecretStr | None = None
    private_key_file: str | None = None
    machines: list[Host] = Field(min_length=1)
    bastion: Bastion | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Hosts:
        if (self.private_key is None) == (self.private_key_file is None):
            raise ValueError("set one of private_key (a secret) and private_key_file")
        names = [machine.name for machine in self.machines]
        if doubled := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"machines: the name {', '.join(doubled)} is given twice")
        planes = [machine.name for machine in self.machines if machine.role == "control-plane"]
        if len(planes) != 1:
            raise ValueError(
                f"machines: one must have role: control-plane, found {len(planes)}: {', '.join(planes) or 'none'}"
            )
        return self


class Aks(_Section):
    """A cluster of Azure Kubernetes Service, whose control plane and network are Azure's."""

    version: Annotated[str, StringConstraints(pattern=r"^1\.\d+(\.\d+)?$")] = "1.34"
    nodes: int = Field(default=2, ge=1, le=100)


class Azure(_Section):
    """Machines in a virtual network of Azure, or with `aks` a managed cluster there."""

    operator: Subnet
    """Where you are: the only address, or range of addresses, that may use SSH."""
    location: Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+$")] = "westeurope"
    network: Subnet = ipaddress.IPv4Network("10.30.0.0/16")
    workers: int = Field(default=2, ge=0, le=100)
    size: Annotated[str, StringConstraints(pattern=r"^Standard_\w+$")] = "Standard_DS2_v2"
    image: Annotated[str, StringConstraints(pattern=r"^[\w-]+:[\w-]+:[\w-]+:\d+\.\d+\.\d+$")] = (
        "Canonical:ubuntu-24_04-lts:server:24.04.202609040"
    )
    """`publisher:offer:sku:version`, as `az vm image list` prints it. What `latest` is changes by the week."""
    os_disk_gb: int = Field(default=64, ge=30, le=4095)
    data_disk_gb: int = Field(default=50, ge=4, le=32767)
    user: Annotated[str, StringConstraints(pattern=r"^[a-z_][a-z0-9_-]{0,31}$")] = "azureuser"
    private_key: SecretStr | None = None
    """Of `user`, without a passphrase, RSA or Ed25519; without one, the stack makes its own."""
    private_key_file: str | None = None
    api_from: list[Subnet] = []
    """Who else than the operator may reach the API server."""
    services_from: list[Subnet] = []
    """Who else than the operator may reach the node ports, 30000 to 32767."""
    bastion: bool = False
    """One small machine with a public address in front of the others, which then have none."""
    registry: bool = False
    """A container registry, with a token that can do nothing but pull."""
    storage: Name | None = None
    """The name of a private blob container, in a storage account made for it."""
    tags: dict[str, str] = {}
    aks: Aks | None = None

    @model_validator(mode="after")
    def _is_not_open_to_the_world(self) -> Azure:
        if self.operator.prefixlen < 16:
            raise ValueError(
                f"operator: {self.operator} is open to too many: give your own address, as in 203.0.113.7, or your "
                "company's range, /16 at the widest"
            )
        if not any(self.network.subnet_of(private) for private in PRIVATE) or self.network.prefixlen > 24:
            ranges = ", ".join(str(private) for private in PRIVATE)
            raise ValueError(f"network: {self.network} has to be a /24 or wider within {ranges}")
        if self.private_key and self.private_key_file:
            raise ValueError("set one of private_key (a secret) and private_key_file, or neither")
        if self.bastion and self.services_from:
            raise ValueError("services_from: behind a bastion no machine has an address that others could come to")
        return self


class Existing(_Section):
    """A cluster that exists, by a kubeconfig: its content as a secret, or a file on this computer."""

    kubeconfig: SecretStr | None = None
    kubeconfig_file: str | None = None
    context: str | None = None
    """Of that kubeconfig; its current one where unset."""

    @model_validator(mode="after")
    def _is_one_kubeconfig(self) -> Existing:
        if (self.kubeconfig is None) == (self.kubeconfig_file is None):
            raise ValueError("set one of kubeconfig (a secret) and kubeconfig_file")
        if self.kubeconfig_file and not Path(self.kubeconfig_file).expanduser().is_file():
            raise ValueError(f"kubeconfig_file: there is no file {self.kubeconfig_file}")
        return self


class Kubernetes(_Section):
    """The cluster that kubeadm makes."""

    version: Annotated[str, StringConstraints(pattern=r"^1\.\d+\.\d+$")] = VERSIONS["kubernetes"]["version"]
    pod_subnet: Subnet = ipaddress.IPv4Network("10.32.0.0/16")
    service_subnet: Subnet = ipaddress.IPv4Network("10.96.0.0/16")
    packages: Literal["bundle", "upstream"] = "upstream"
    """Where nodes get kubeadm, kubelet, kubectl: from the registry that `make bundle` fills, or from pkgs.k8s.io."""
    names: list[str] = []
    """Further names and addresses of the API server, for its certificate."""
    endpoint: str | None = None
    """Host name or address by which this computer reaches the API server, if it is not the control plane's own."""


class Infra(_Section):
    """Where the machines and the cluster come from."""

    machines: Literal["none", "lab", "hosts", "azure"] = "none"
    cluster: Literal["none", "kubeadm", "existing"] = "none"
    lab: Lab = Lab()
    hosts: Hosts | None = None
    azure: Azure | None = None
    existing: Existing | None = None
    kubernetes: Kubernetes = Kubernetes()

    @model_validator(mode="after")
    def _machines_and_cluster_go_together(self) -> Infra:
        if (self.machines != "none") != (self.cluster == "kubeadm"):
            raise ValueError(
                f"machines: {self.machines} does not go with cluster: {self.cluster}; kubeadm takes machines, "
                "none and existing take none"
            )
        if self.machines == "hosts" and self.hosts is None:
            raise ValueError("machines: hosts takes infra:hosts, the machines' addresses, user and key")
        if self.machines == "azure" and self.azure is None:
            raise ValueError("machines: azure takes infra:azure, at least the operator's address")
        if self.cluster == "existing" and (self.existing is None) == (self.azure is None or self.azure.aks is None):
            raise ValueError("cluster: existing takes one of infra:existing, a kubeconfig, and infra:azure.aks")
        subnets = {
            "kubernetes.pod_subnet": self.kubernetes.pod_subnet,
            "kubernetes.service_subnet": self.kubernetes.service_subnet,
        }
        if self.machines == "lab":
            subnets["lab.subnet"] = self.lab.subnet
        if self.machines == "azure" and self.azure:
            subnets["azure.network"] = self.azure.network
        for (one, a), (other, b) in itertools.combinations(subnets.items(), 2):
            if a.overlaps(b):
                raise ValueError(f"{one} {a} overlaps with {other} {b}; give each addresses of its own")
        return self


class ArtifactStore(_Section):
    """A bucket that speaks S3: Amazon's own, or the one at `endpoint_url`."""

    url: str = Field(pattern=r"^s3://[a-z0-9.-]+(/.*)?$")
    access_key: str
    secret_key: SecretStr
    endpoint_url: str | None = Field(default=None, pattern=r"^https?://")
    region: str = "us-east-1"


class Tracking(_Section):
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
    artifacts: ArtifactStore | None = None
    """Where models and other files of runs lie, in place of a folder of its own."""

    @field_validator("database_url")
    @classmethod
    def _is_postgresql(cls, url: SecretStr | None) -> SecretStr | None:
        if url and not url.get_secret_value().startswith("postgresql://"):
            raise ValueError("has to begin with postgresql://")
        return url


class Blobs(_Section):
    """Azure Blob Storage that pipelines read: your account, or without one the Azurite emulator on `port`."""

    port: Port = 10000
    account_url: str | None = Field(default=None, pattern=r"^https?://")
    account_key: SecretStr | None = None
    container: Name = "datasets"
    upload: dict[str, str] = {}
    """Blob name -> file of this project that is uploaded to it."""

    @model_validator(mode="after")
    def _key_belongs_to_an_account(self) -> Blobs:
        if (self.account_url is None) != (self.account_key is None):
            raise ValueError("account_url and account_key belong together: set both, or neither for the emulator")
        for blob, file in self.upload.items():
            if not (PROJECT / file).is_file():
                raise ValueError(f"upload.{blob}: there is no file {file} in the project")
        return self


class RegistryLogin(_Section):
    """Who shows which password to a registry."""

    username: str
    password: SecretStr


class Registry(_Section):
    """The private registry: your own at `url`, or without one the bundle's, which this computer serves at `address`."""

    url: str | None = Field(default=None, pattern=r"^https://[^/]+(/.+[^/])?$")
    username: str | None = None
    password: SecretStr | None = None
    ca_file: str | None = None
    """Its certificate authority in PEM format, where no public one signed its certificate."""
    builder: RegistryLogin | None = None
    """Who pushes the images that are built here; `username`, whose password nodes and pods have, where unset."""
    address: str | None = None
    """The bundle's registry: an address of this computer that the machines reach. In the lab, its bridge."""
    port: Port = 5443

    @model_validator(mode="after")
    def _own_or_the_bundles(self) -> Registry:
        if (self.url is None) != (self.password is None) or (self.url is None) != (self.username is None):
            raise ValueError("url, username and password belong together: set all, or none for the bundle's registry")
        if self.builder and self.url is None:
            raise ValueError(
                "builder: is for your own registry, at url; the bundle's takes images on this computer alone"
            )
        if self.ca_file and not Path(self.ca_file).expanduser().is_file():
            raise ValueError(f"ca_file: there is no file {self.ca_file}")
        return self


class LoadBalancer(_Section):
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


class KubeflowDatabase(_Section):
    """A MySQL or MariaDB server with two empty databases, and a user who may do anything in them."""

    host: str
    port: int = Field(default=3306, ge=1, le=65535)
    user: str
    password: SecretStr
    pipelines: str = "mlpipeline"
    metadata: str = "metadb"


class KubeflowObjects(_Section):
    """A bucket that speaks S3."""

    host: str
    port: int = Field(default=443, ge=1, le=65535)
    bucket: str
    access_key: str
    secret_key: SecretStr
    secure: bool = True
    region: str = "us-east-1"


class Kubeflow(_Section):
    """Kubeflow Pipelines in the cluster, for `pipelines: kubeflow`."""

    service: ServiceType = "ClusterIP"
    """How its pages are reached from outside."""
    port: Port = 8080
    size_gb: int = Field(default=10, ge=1, le=10_000)
    """Each of the volumes of its database and its object store."""
    database: KubeflowDatabase | None = None
    objects: KubeflowObjects | None = None
    keep_runs: bool = True
    """Whether the history of runs stays when a pipeline leaves the stack."""


class Monitoring(_Section):
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


class Platform(_Section):
    """What runs beneath the workloads."""

    pipelines: Literal["embedded", "job", "kubeflow"] = "embedded"
    kubeflow: Kubeflow = Kubeflow()
    network: Literal["weave", "flannel"] = "weave"
    weave_fast_datapath: bool = True
    """Let the kernel forward packets between nodes; it takes Open vSwitch in the nodes' kernel."""
    load_balancer: LoadBalancer | None = None
    storage: Literal["vendor", "openebs"] = "vendor"
    """In a cluster that exists: whose volumes are taken. One that kubeadm makes has OpenEBS's."""
    storage_class: str | None = Field(default=None, pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$")
    """In a cluster that exists: the vendor's class that is taken; its default one where unset."""
    metrics: Literal["vendor", "own"] = "vendor"
    """In a cluster that exists: whose metrics-server autoscaling asks. One that kubeadm makes has its own."""
    registry: Registry = Registry()
    tracking: Tracking = Tracking()
    blobs: Blobs | None = None
    monitoring: Monitoring | None = None
    """None for none."""

    @model_validator(mode="after")
    def _class_is_the_vendors(self) -> Platform:
        if self.storage == "openebs" and self.storage_class:
            raise ValueError(f"storage_class: {self.storage_class} is a vendor's, and storage: openebs brings its own")
        return self


class Canary(_Section):
    """Another version beside the champion, behind the same address; pods share the requests evenly."""

    version: int = Field(ge=1)
    replicas: int = Field(default=1, ge=1, le=100)


class Serving(_Section):
    """The model server; the ports of further served models are set at their pipelines."""

    port: Port = 5005
    follow: bool = False
    """Swap to a new champion as soon as it has the alias, instead of at the next `pulumi up`."""
    workers: int = Field(default=2, ge=1, le=64)
    max_body_bytes: int = Field(default=1 << 20, ge=1024, le=1 << 30)
    max_rows: int = Field(default=10_000, ge=1, le=10_000_000)
    service: ServiceType = "ClusterIP"
    """In a cluster: how it is reached from outside."""
    replicas: int = Field(default=2, ge=1, le=100)
    """In a cluster, and no less under any load."""
    maximum_replicas: int = Field(default=4, ge=1, le=100)
    """In a cluster, under the highest load."""
    canary: Canary | None = None
    """In a cluster, of the model at `serving:port`."""

    @model_validator(mode="after")
    def _replicas_are_a_range(self) -> Serving:
        if self.maximum_replicas < self.replicas:
            raise ValueError(f"maximum_replicas: {self.maximum_replicas} is less than replicas: {self.replicas}")
        return self


class Pipeline(_Section):
    """One pipeline of `workloads/pipelines/`, by the name of its file with dashes."""

    parameters: dict[str, Parameter] = {}
    model: Name | None = None
    """The registered model's name that it trains; the pipeline's own name where unset."""
    gate: float | None = None
    """Reaches the pipeline as its parameter `baseline`."""
    serve: bool = False
    port: Port | None = None
    """Where its model is served; `serving:port` where unset."""
    version: int | None = Field(default=None, ge=1)
    """Serve this registered version instead of the newest that passed the gate: a rollback."""
    uses_model: Name | None = None
    """The served model whose champion it works with, as its parameters `model_name` and `model_version`."""
    data_version: str = ""
    """Change it to run again on data whose change cannot be seen from here (a remote URL)."""
    schedule: Schedule | None = None
    """When it runs by itself; only Kubeflow Pipelines has a scheduler."""
    timeout_minutes: int = Field(default=360, ge=1, le=10_080)
    """A run that takes longer has failed."""
    retries: int = Field(default=0, ge=0, le=10)
    """How often a step that failed is tried again, where the pipeline itself does not say it."""

    @model_validator(mode="after")
    def _serving_settings_need_serve(self) -> Pipeline:
        if not self.serve and (self.version is not None or self.port is not None):
            raise ValueError("version and port are for a pipeline with serve: true")
        return self


class Workloads(_Section):
    """What the data scientists own."""

    pipelines: dict[Name, Pipeline] = {}
    models_from: Annotated[str, StringConstraints(pattern=r"^[\w.-]+(/[\w.-]+/[\w.-]+)?$")] | None = None
    """The stack whose champions this one begins with: its name, or `organization/project/name`."""


class Settings(_Section):
    """All settings of one stack, by namespace."""

    infra: Infra = Infra()
    platform: Platform = Platform()
    serving: Serving = Serving()
    workloads: Workloads = Workloads()

    @model_validator(mode="after")
    def _pipelines_fit_together(self) -> Settings:
        ports: dict[int, str] = {self.platform.tracking.port: "platform:tracking.port"}
        blobs = self.platform.blobs
        if blobs and blobs.account_url is None:
            _claim(ports, blobs.port, "platform:blobs.port")
        models: dict[str, str] = {}
        for name, pipeline in self.workloads.pipelines.items():
            if pipeline.serve:
                setting = f"workloads:pipelines.{name}.port" if pipeline.port else "serving:port"
                _claim(ports, pipeline.port or self.serving.port, setting)
                model = pipeline.model or name
                if model in models:
                    raise ValueError(
                        f"workloads:pipelines.{name}: the model {model} is already served for {models[model]}"
                    )
                models[model] = name
        for name, pipeline in self.workloads.pipelines.items():
            if pipeline.uses_model and pipeline.uses_model not in models:
                raise ValueError(
                    f"workloads:pipelines.{name}.uses_model: no pipeline with serve: true has the model "
                    f"{pipeline.uses_model}; there are: {', '.join(sorted(models)) or 'none'}"
                )
        return self

    @model_validator(mode="after")
    def _pipelines_go_with_the_cluster(self) -> Settings:
        if (self.platform.pipelines == "embedded") != (self.infra.cluster == "none"):
            raise ValueError(
                f"platform:pipelines: {self.platform.pipelines} does not go with infra:cluster: {self.infra.cluster}; "
                "job and kubeflow run pipelines in a cluster, embedded on this computer"
            )
        if self.platform.monitoring and self.infra.cluster == "none":
            raise ValueError("platform:monitoring: Prometheus runs in a cluster, and infra:cluster is none")
        for name, pipeline in self.workloads.pipelines.items():
            if pipeline.schedule and self.platform.pipelines != "kubeflow":
                raise ValueError(
                    f"workloads:pipelines.{name}.schedule: platform:pipelines: {self.platform.pipelines} has no "
                    "scheduler; set platform:pipelines: kubeflow, or leave out the schedule"
                )
        return self

    @model_validator(mode="after")
    def _each_cluster_has_what_its_maker_gives_it(self) -> Settings:
        given, cluster = self.platform.model_fields_set, self.infra.cluster
        unfit, why = OF_MAKERS.get(cluster, OF_MAKERS["kubeadm"])
        if found := sorted(given & unfit):
            raise ValueError(f"platform:{', platform:'.join(found)}: not with infra:cluster: {cluster}; {why}")
        return self

    @model_validator(mode="after")
    def _images_and_data_have_one_place(self) -> Settings:
        azure = self.infra.azure
        if azure and azure.registry and self.platform.registry.url:
            raise ValueError(
                "platform:registry.url: infra:azure.registry makes a registry for this stack; set one of them"
            )
        if azure and azure.storage and self.platform.blobs and self.platform.blobs.account_url:
            raise ValueError(
                "platform:blobs.account_url: infra:azure.storage makes an account for this stack; set one of them"
            )
        made = azure is not None and azure.aks is not None and azure.registry
        if self.infra.cluster == "existing" and not (made or self.platform.registry.url):
            raise ValueError(
                "platform:registry: the platform's images are pushed to a registry that the cluster pulls from: set "
                "url, username and password of yours, or with AKS infra:azure.registry: true"
            )
        return self


def load(stack: str, overrides: Mapping[str, str], folder: Path = PROJECT) -> Settings:
    """The settings of `stack`: `Pulumi.<stack>.yaml` in `folder` with `overrides` laid over it.

    `overrides` is Pulumi's configuration: `namespace:key` to text, JSON where the value is an object or a list.

    Raises:
        SettingsError: something is not a setting, has a value that is not allowed, or is not there yet.
    """
    file = folder / f"Pulumi.{stack}.yaml"
    committed = _read(file)
    values: dict[str, Any] = {}
    for key, value in [*committed.items(), *((k, _parsed(v)) for k, v in overrides.items())]:
        namespace, _, name = key.partition(":")
        if not name:
            raise SettingsError(f"{file.name}: {key} is not a setting: write namespace:name, as in serving:port")
        if namespace not in OF_PULUMI:
            section = values.setdefault(namespace, {})
            section[name] = _merged(section.get(name), value)
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        lines = "\n".join(f"  {_described(fault)}" for fault in error.errors())
        raise SettingsError(f"the settings of stack {stack} cannot be used:\n{lines}") from None


def cache_directory() -> Path:
    """The folder of everything that is installed or written by this project."""
    if own := os.environ.get("MLPLATFORM_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mlplatform"


def _claim(ports: dict[int, str], port: int, setting: str) -> None:
    if port in ports:
        raise ValueError(f"{setting}: port {port} is already taken by {ports[port]}; give one of them another port")
    ports[port] = setting


def _read(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    try:
        content = yaml.safe_load(file.read_text()) or {}
    except yaml.YAMLError as error:
        raise SettingsError(f"{file.name} is not YAML: {error}") from None
    config = content.get("config") if isinstance(content, dict) else None
    if not isinstance(config, dict):
        raise SettingsError(f"{file.name}: expected a mapping named config, as in any Pulumi stack file")
    return config


def _parsed(value: str) -> Any:
    """Pulumi hands objects and lists over as JSON, all else as text (which the schema's types convert)."""
    if isinstance(value, str) and value[:1] in "{[":
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _merged(base: Any, over: Any) -> Any:
    if isinstance(base, dict) and isinstance(over, dict):
        return {key: _merged(base.get(key), over[key]) if key in over else base[key] for key in base | over}
    return over


def _described(fault: Any) -> str:
    """One line for one fault: the setting as it is written in the stack's file, the complaint, what was found."""
    message = str(fault["msg"]).removeprefix("Value error, ")
    if not fault["loc"]:
        return message
    namespace, *path = (str(part) for part in fault["loc"])
    setting = f"{namespace}:{'.'.join(path)}" if path else namespace
    if fault["type"] == "extra_forbidden":
        return f"{setting} is not a setting (see docs/settings.md)"
    found = "" if isinstance(fault["input"], dict) or SECRETS & set(path) else f" (found: {fault['input']!r})"
    return f"{setting}: {message}{found}"
