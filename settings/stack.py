"""All settings of one stack, and the rules between namespaces."""

from __future__ import annotations

from urllib.parse import urlsplit

from pydantic import model_validator

from settings.address_rules import check_addresses
from settings.infra import InfraSettings
from settings.platform import KubeflowSettings, MonitoringSettings, PlatformSettings, TrackingSettings
from settings.serving import ServingSettings
from settings.store_rules import check_stores
from settings.team_rules import check_teams
from settings.types import Section
from settings.workloads import WorkloadsSettings

LOOPBACK = {"127.0.0.1", "localhost", "::1"}
UNSUPPORTED_SETTINGS = {
    "existing": ({"network", "weave_fast_datapath"}, "a cluster that exists has its vendor's network"),
    "kubeadm": ({"storage", "storage_class", "metrics"}, "these settings are for infra:cluster: existing"),
}
"""Settings of the platform that a kind of cluster does not support, and the reason, by `infra:cluster`."""


class StackSettings(Section):
    """All settings of one stack, by namespace."""

    infra: InfraSettings = InfraSettings()
    """Machines and the cluster."""
    platform: PlatformSettings = PlatformSettings()
    """Services that the workloads use."""
    serving: ServingSettings = ServingSettings()
    """Model servers."""
    workloads: WorkloadsSettings = WorkloadsSettings()
    """Pipelines and models."""

    @model_validator(mode="after")
    def _check_together(self) -> StackSettings:
        models = {each.model or name: name for name, each in self.workloads.pipelines.items() if each.serve}
        for model in self.serving.together:
            if model not in models:
                raise ValueError(
                    f"serving:together: no pipeline with serve: true has the model {model}; there are: "
                    f"{', '.join(sorted(models)) or 'none'}"
                )
            name = models[model]
            pipeline = self.workloads.pipelines[name]
            if pipeline.port:
                raise ValueError(
                    f"workloads:pipelines.{name}.port: serving:together serves the model {model} at serving:port; "
                    "remove the port, or the model from serving:together"
                )
            if team := self.workloads.pipeline_teams.get(name):
                raise ValueError(
                    f"serving:together: the model {model} belongs to the team {team}, and a server of several models "
                    f"belongs to no team; remove {model} from serving:together, and set a port for its pipeline"
                )
            if pipeline.uses_model:
                raise ValueError(
                    f"serving:together: the pipeline {name} uses the model {pipeline.uses_model} while it trains "
                    f"{model}, so {model} starts later than the others; set a port for {model} instead"
                )
        return self

    @model_validator(mode="after")
    def _check_first_server(self) -> StackSettings:
        """Require that requests reach the canary and the port of gRPC, which are for the server at `serving:port`."""
        serving = self.serving
        if serving.canary and self.infra.cluster == "none":
            raise ValueError(
                "serving:canary: needs a cluster, because processes of this computer cannot share an address, and "
                "infra:cluster is none; remove serving:canary"
            )
        ports = {name: each.port for name, each in self.workloads.pipelines.items() if each.serve}
        names = [f"serving:{name}" for name in ("canary", "grpc_port") if getattr(serving, name) is not None]
        if names and all(ports.values()):
            found = "no pipeline has serve: true; set it for one"
            if ports:
                found = f"every pipeline with serve: true has a port: {', '.join(ports)}; remove the port of one"
            raise ValueError(f"{names[0]}: this is for the model at serving:port, and {found}, or remove {names[0]}")
        return self

    @model_validator(mode="after")
    def _check_ports(self) -> StackSettings:
        serving, platform = self.serving, self.platform
        taken = {platform.tracking.port: "platform:tracking.port"}
        if platform.blobs and platform.blobs.account_url is None:
            _reserve_port(taken, platform.blobs.port, "platform:blobs.port")
        if serving.grpc_port:
            _reserve_port(taken, serving.grpc_port, "serving:grpc_port")
        served = {name: each for name, each in self.workloads.pipelines.items() if each.serve}
        alone = {name: each.port for name, each in served.items() if (each.model or name) not in serving.together}
        if serving.together or not all(alone.values()):
            _reserve_port({**taken}, serving.port, "serving:port")
        if serving.together:
            _reserve_port(taken, serving.port, "serving:together")
        for name, port in alone.items():
            _reserve_port(taken, port or serving.port, f"workloads:pipelines.{name}.port")
        if self.infra.cluster != "none":
            self._check_forwarded_ports()
        return self

    def _check_forwarded_ports(self) -> None:
        """Require that `make pages` can forward each page without an address outside the cluster."""
        served = [each for each in self.workloads.pipelines.values() if each.serve and not each.port]
        forwarded: dict[int, str] = {}
        for prefix, page in self._pages().items():
            if page.service == "ClusterIP" and (page is not self.serving or (served and self.platform.door is None)):
                _reserve_port(forwarded, page.port, f"{prefix}port")

    @model_validator(mode="after")
    def _check_models(self) -> StackSettings:
        models: dict[str, str] = {}
        for name, pipeline in self.workloads.pipelines.items():
            if pipeline.serve:
                model = pipeline.model or name
                if model in models:
                    raise ValueError(
                        f"workloads:pipelines.{name}: the model {model} is already served for {models[model]}; set "
                        "serve: true for one of them only"
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
    def _check_engine(self) -> StackSettings:
        if (self.platform.pipelines == "embedded") != (self.infra.cluster == "none"):
            raise ValueError(
                f"platform:pipelines: {self.platform.pipelines} does not go with infra:cluster: {self.infra.cluster}; "
                "job and kubeflow run pipelines in a cluster, embedded on this computer"
            )
        if self.platform.monitoring and self.infra.cluster == "none":
            raise ValueError(
                "platform:monitoring: Prometheus runs in a cluster, and infra:cluster is none; remove "
                "platform:monitoring, or set infra:cluster"
            )
        for name, pipeline in self.workloads.pipelines.items():
            if pipeline.schedule and self.platform.pipelines != "kubeflow":
                raise ValueError(
                    f"workloads:pipelines.{name}.schedule: platform:pipelines: {self.platform.pipelines} has no "
                    "scheduler; set platform:pipelines: kubeflow, or leave out the schedule"
                )
            if pipeline.dask and self.platform.pipelines == "kubeflow":
                raise ValueError(
                    f"workloads:pipelines.{name}.dask: platform:pipelines: kubeflow starts no workers; set "
                    "platform:pipelines: job, or leave out dask"
                )
        return self

    @model_validator(mode="after")
    def _check_cluster_support(self) -> StackSettings:
        cluster = self.infra.cluster
        unsupported, reason = UNSUPPORTED_SETTINGS.get(cluster, UNSUPPORTED_SETTINGS["kubeadm"])
        if found := sorted(self.platform.model_fields_set & unsupported):
            raise ValueError(f"platform:{', platform:'.join(found)}: not with infra:cluster: {cluster}; {reason}")
        return self

    @model_validator(mode="after")
    def _check_stores(self) -> StackSettings:
        check_stores(self.infra, self.platform)
        return self

    @model_validator(mode="after")
    def _check_door(self) -> StackSettings:
        platform = self.platform
        if platform.door is None:
            if platform.notebooks:
                raise ValueError(
                    "platform:notebooks: only a door knows whose notebook it is; set platform:door, or remove "
                    "platform:notebooks"
                )
            if self.serving.canary and self.serving.canary.separate:
                raise ValueError(
                    "serving:canary: only a door sends requests by weight or as a copy; set platform:door, or remove "
                    "weight and mirror"
                )
            hidden = [name for name, each in self.workloads.pipelines.items() if "visibility" in each.model_fields_set]
            if hidden:
                raise ValueError(
                    f"workloads:pipelines.{hidden[0]}.visibility: only a door knows its callers; set platform:door, or "
                    "remove visibility"
                )
            return self
        if self.infra.cluster == "none":
            raise ValueError(
                "platform:door: the door is for a cluster, and infra:cluster is none; remove platform:door"
            )
        if self.serving.grpc_port:
            raise ValueError(
                f"serving:grpc_port: {self.serving.grpc_port} cannot be reached with platform:door: only the door and "
                "Prometheus connect to models, and the door forwards no gRPC; remove one of the two"
            )
        if self.infra.cluster == "kubeadm" and platform.load_balancer is None:
            raise ValueError("platform:door: the door needs an address; set platform:load_balancer")
        if beside := [f"{setting}: {kind}" for setting, kind in self._outside().items()]:
            raise ValueError(
                f"{', '.join(beside)}: this address would bypass platform:door; set ClusterIP, or remove platform:door"
            )
        return self

    @model_validator(mode="after")
    def _check_promotion(self) -> StackSettings:
        canary = self.serving.canary
        if canary and canary.promote and self.platform.monitoring is None:
            raise ValueError("serving:canary.promote: decides by measurements; set platform:monitoring")
        return self

    @model_validator(mode="after")
    def _check_teams(self) -> StackSettings:
        check_teams(self.infra, self.platform, self.workloads)
        return self

    @model_validator(mode="after")
    def _check_visibility(self) -> StackSettings:
        if self.platform.door is None or self.platform.network != "flannel":
            return self
        for name, pipeline in self.workloads.pipelines.items():
            if pipeline.serve and pipeline.visibility != "public":
                raise ValueError(
                    f"workloads:pipelines.{name}.visibility: {pipeline.visibility}: platform:network: flannel enforces "
                    "no NetworkPolicy, so every pod reaches the model without the door; set platform:network: weave, "
                    "or visibility: public"
                )
        return self

    def _pages(self) -> dict[str, TrackingSettings | MonitoringSettings | KubeflowSettings | ServingSettings]:
        """Return the settings of each page and of the models, which have a Service with a port, by their prefix."""
        platform = self.platform
        return {
            "platform:tracking.": platform.tracking,
            "serving:": self.serving,
            **({"platform:monitoring.": platform.monitoring} if platform.monitoring else {}),
            **({"platform:kubeflow.": platform.kubeflow} if platform.pipelines == "kubeflow" else {}),
        }

    def _outside(self) -> dict[str, str]:
        """Return the type of each Service with an address outside the cluster, by its setting."""
        pages = self._pages().items()
        return {f"{prefix}service": page.service for prefix, page in pages if page.service != "ClusterIP"}

    @model_validator(mode="after")
    def _check_plain_http(self) -> StackSettings:
        platform = self.platform
        if platform.allow_plain_http or self.infra.machines == "lab":
            return self
        blobs = urlsplit((platform.blobs and platform.blobs.account_url) or "")
        if blobs.scheme == "http" and blobs.hostname not in LOOPBACK:
            raise ValueError(
                f"platform:blobs.account_url: {blobs.geturl()}: the token of the steps would cross the network without "
                "TLS; set an address with https://, or platform:allow_plain_http: true if you trust that network"
            )
        if self.infra.cluster == "none":
            return self
        pages = {setting: kind for setting, kind in self._outside().items() if setting != "serving:service"}
        if exposed := [f"{setting}: {kind}" for setting, kind in pages.items()]:
            raise ValueError(
                f"{', '.join(exposed)}: its password would cross the network without TLS; set ClusterIP, which "
                "`make pages` forwards to this computer and platform:door offers over HTTPS, or "
                "platform:allow_plain_http: true if you trust that network"
            )
        return self

    @model_validator(mode="after")
    def _check_registry_and_storage(self) -> StackSettings:
        azure = self.infra.azure
        if azure and azure.registry and self.platform.registry.url:
            raise ValueError(
                "platform:registry.url: infra:azure.registry makes a registry for this stack; set one of them"
            )
        if azure and azure.storage and self.platform.blobs and self.platform.blobs.account_url:
            raise ValueError(
                "platform:blobs.account_url: infra:azure.storage makes an account for this stack; set one of them"
            )
        aks_registry = azure is not None and azure.aks is not None and azure.registry
        if self.infra.cluster == "existing" and not (aks_registry or self.platform.registry.url):
            raise ValueError(
                "platform:registry: the platform's images are pushed to a registry that the cluster pulls from: set "
                "url, username and password of yours, or with AKS infra:azure.registry: true"
            )
        return self

    @model_validator(mode="after")
    def _check_addresses(self) -> StackSettings:
        check_addresses(self.infra, self.platform, self._outside())
        return self


def _reserve_port(ports: dict[int, str], port: int, setting: str) -> None:
    if port in ports:
        raise ValueError(
            f"{setting}: port {port} is already taken by {ports[port]}; set another port for one of the two"
        )
    ports[port] = setting
