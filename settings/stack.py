"""All settings of one stack, and the rules between namespaces."""

from __future__ import annotations

from pydantic import model_validator

from settings.infra import InfraSettings
from settings.platform import PlatformSettings
from settings.serving import ServingSettings
from settings.types import Section
from settings.workloads import WorkloadsSettings

OF_MAKERS = {
    "existing": ({"network", "weave_fast_datapath"}, "a cluster that exists has its vendor's network"),
    "kubeadm": ({"storage", "storage_class", "metrics"}, "what a vendor gives is for infra:cluster: existing"),
}
"""By how the cluster is made: settings of the platform that are not for it, and why."""


class Settings(Section):
    """All settings of one stack, by namespace."""

    infra: InfraSettings = InfraSettings()
    platform: PlatformSettings = PlatformSettings()
    serving: ServingSettings = ServingSettings()
    workloads: WorkloadsSettings = WorkloadsSettings()

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


def _claim(ports: dict[int, str], port: int, setting: str) -> None:
    if port in ports:
        raise ValueError(f"{setting}: port {port} is already taken by {ports[port]}; give one of them another port")
    ports[port] = setting
