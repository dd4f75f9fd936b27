"""Deployment of a stack's workloads: pipelines, the models that they train, and the services of these models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pulumi
from mlplatform.door.door_routes import SHARED_SERVICE, model_path, model_service
from mlplatform.platform import Platform
from mlplatform.team import Team

from settings.metrics import describe_gate
from settings.serving import ServingSettings
from settings.stack import StackSettings
from settings.workloads import PipelineSettings
from workloads.ml.rest_client import ALIAS
from workloads.model_transfer.model_transfer import ModelsFrom, models_from
from workloads.runs.gate_parameters import gate_parameters, require_gate_parameter
from workloads.runs.origin import data_fingerprint, git_tags
from workloads.runs.pipeline_sources import local_image, pipeline_digest
from workloads.runs.resources import CompiledPipeline, PipelineRun, PipelineVersion
from workloads.runs.run_outputs import deployed_version, inherited_outputs, model_output, run_output, with_decision
from workloads.runs.schedule import PipelineSchedule
from workloads.runs.step_credentials import step_credentials
from workloads.serving.champion import Champion
from workloads.serving.kubernetes import ModelService, ServingNamespace, serving_namespace, team_servers
from workloads.serving.local_service import model_server

SMOKE_TEST = "smoke-test"
"""Pipeline that runs before all others if each step has its own pod."""


@dataclass(frozen=True)
class Deployed:
    """The stack outputs of the workloads by name, and their model servers in a cluster."""

    outputs: Mapping[str, pulumi.Output[Any]] = field(default_factory=dict)
    servers: Sequence[ModelService] = ()


def deploy(settings: StackSettings, platform: Platform) -> Deployed:
    """Run the pipelines, set the champions and start the services."""
    if not settings.workloads.enabled:
        return Deployed()
    pipelines = settings.workloads.pipelines
    serves = any(pipeline.serve for pipeline in pipelines.values())
    serving = serving_namespace(platform.target, platform.tracking) if platform.target and serves else None
    source = settings.workloads.models_from
    workloads = _Workloads(
        platform,
        image=platform.steps_image or local_image(),
        run_tags=git_tags(),
        serving=serving,
        servers_of={name: team_servers(serving, team) for name, team in platform.teams.items()} if serving else {},
        team_of=settings.workloads.pipeline_teams,
        models_from=models_from(source, platform) if source else None,
        adopt_champions=settings.workloads.adopt_champions,
    )
    if platform.steps_image and SMOKE_TEST not in pipelines:
        # A finished rollout shows that the engine's pods run. Only a run shows that the engine works.
        smoke_test = workloads.run(SMOKE_TEST, PipelineSettings(timeout_minutes=10))
        workloads.platform = replace(platform, run_after=[*platform.run_after, smoke_test])
    # A pipeline that uses a model needs the champion of the pipeline that trains it.
    for name, pipeline in sorted(pipelines.items(), key=lambda item: item[1].uses_model is not None):
        run = workloads.run(name, pipeline)
        if pipeline.serve:
            workloads.serve(name, pipeline, run, settings.serving)
    return Deployed(workloads.outputs, workloads.services)


@dataclass
class _Workloads:
    """Workloads of a stack, deployed one after the other.

    Args:
        image: the image of the pipelines' steps.
        run_tags: tags of each run in MLflow.
        serving: the namespace of shared model servers; None if they are processes of this computer.
        servers_of: the namespaces of model servers by team.
        team_of: the teams of pipelines.
        models_from: models of another stack; each run waits for their copies, to keep the version numbers.
        adopt_champions: serve the champions that MLflow has already instead of a first run.
        champions: the champions by model.
        servers: the addresses of model servers by model.
        services: the model servers in a cluster.
    """

    platform: Platform
    image: pulumi.Input[str]
    run_tags: Mapping[str, str]
    serving: ServingNamespace | None
    servers_of: Mapping[str, ServingNamespace]
    team_of: Mapping[str, str]
    models_from: ModelsFrom | None
    adopt_champions: bool
    champions: dict[str, Champion] = field(default_factory=dict)
    servers: dict[str, pulumi.Output[str]] = field(default_factory=dict)
    services: list[ModelService] = field(default_factory=list)
    outputs: dict[str, pulumi.Output[Any]] = field(default_factory=dict)

    def run(self, name: str, pipeline: PipelineSettings) -> PipelineRun:
        """Compile, upload, run and schedule a pipeline."""
        team = self.platform.teams.get(self.team_of.get(name, ""))
        engine = team.engine if team else self.platform.engine
        run_after = [*self.platform.run_after, *(team.run_after if team else [])]
        secrets = step_credentials(self.platform, team)
        target = self.platform.target
        # With the cluster, its engine ends. A request to it would only time out if the cluster is down already.
        ends_with_cluster = pulumi.ResourceOptions(deleted_with=target.cluster.resource if target else None)
        compiled = CompiledPipeline(
            f"{name}-package",
            pipeline=name,
            image=self.image,
            retries=pipeline.retries,
            sources=pipeline_digest(name),
        )
        version = PipelineVersion(
            f"{name}-version",
            engine=engine,
            pipeline=name,
            compiled=compiled,
            secrets=sorted(secrets),
            timeout_minutes=pipeline.timeout_minutes,
            opts=pulumi.ResourceOptions.merge(ends_with_cluster, pulumi.ResourceOptions(depends_on=run_after)),
        )
        if pipeline.gate is not None and not pipeline.serve:
            compiled.parameters.apply(lambda declared: require_gate_parameter(name, declared))
        containers = self.platform.containers(team)
        run = PipelineRun(
            f"{name}-run",
            engine=engine,
            pipeline=name,
            version=version,
            compiled=compiled,
            parameters=pipeline.arguments,
            platform=self._platform_parameters(name, pipeline, team),
            secrets=secrets,
            timeout_minutes=pipeline.timeout_minutes,
            data_fingerprint=data_fingerprint(pipeline, containers),
            inherited_outputs=self._inherited_outputs(name, pipeline),
            adopted_model=(pipeline.model or name) if self.adopt_champions and pipeline.serve else "",
            access=self.platform.tracking.access,
            steps_tracking_url=self.platform.steps_tracking_url,
            tags=self.run_tags,
            opts=pulumi.ResourceOptions(
                depends_on=[
                    *run_after,
                    *(upload for each in containers for upload in each.uploads),
                    *([self.models_from] if self.models_from else []),
                ]
            ),
        )
        if pipeline.schedule:
            PipelineSchedule(
                f"{name}-schedule",
                engine=engine,
                pipeline=name,
                schedule=pipeline.schedule,
                version=version,
                compiled=compiled,
                run=run,
                secrets=secrets,
                steps_tracking_url=self.platform.steps_tracking_url,
                opts=ends_with_cluster,
            )
        gate = {"gate": describe_gate(pipeline.gate_conditions)} if pipeline.gate is not None else {}
        self.outputs[name.replace("-", "_")] = pulumi.Output.all(
            state=run.state, run_id=run.run_id, outputs=run.outputs, artifacts=run.artifacts, log=run.log, **gate
        ).apply(run_output)
        return run

    def serve(self, name: str, pipeline: PipelineSettings, run: PipelineRun, settings: ServingSettings) -> None:
        """Set the champion of the pipeline's model and start its server.

        The server of `serving:together` starts with the last of its models.
        """
        model = pipeline.model or name
        self._set_champion(name, model, pipeline, run)
        together = settings.together
        if model not in together:
            self._start_server(model_service(model), settings, [model], pipeline=name, port=pipeline.port)
            self._publish(model, f"{model.replace('-', '_')}_service" if pipeline.port else "")
        elif all(each in self.champions for each in together):
            self._start_server(SHARED_SERVICE, settings, together, pipeline=name, port=None)
            for each in together:
                path = model_path(each)
                self._publish(each, "" if each == together[0] else f"{each.replace('-', '_')}_service", f"/{path}")

    def _set_champion(self, name: str, model: str, pipeline: PipelineSettings, run: PipelineRun) -> None:
        trial = None if pipeline.port else self.platform.trial
        champion = Champion(
            f"{model}-champion",
            access=self.platform.tracking.access,
            model=model,
            deployed=run.outputs.apply(lambda outputs: deployed_version(name, outputs)),
            run_id=run.run_id,
            pinned=str(pipeline.version or ""),
            setting=f"workloads:pipelines.{name}.version",
            pipeline=name,
            gate=pipeline.gate_conditions,
            canary={} if trial is None else {"version": trial.version, "state": trial.state, "reason": trial.reason},
        )
        self.champions[model] = champion
        output = name.replace("-", "_")
        decided = pulumi.Output.all(self.outputs[output], champion.decision, champion.rejected)
        self.outputs[output] = decided.apply(lambda known: with_decision(*known))

    def _publish(self, model: str, output: str, path: str = "") -> None:
        """Add a served model to the outputs.

        Args:
            model: the name of the model.
            output: the name of the output; "" for the model that has the outputs `model` and `score_url`.
            path: the path of the model on its server.
        """
        champion, url = self.champions[model], pulumi.Output.concat(self.servers[model], path)
        if door := self.platform.door:
            url = pulumi.Output.from_input(f"{door.url}{model_path(model)}")
        outputs = {
            "model": pulumi.Output.all(
                name=model,
                version=champion.version,
                alias=ALIAS,
                sha256=champion.sha256,
                accuracy=champion.accuracy,
                metrics=champion.metrics,
            ).apply(model_output),
            "score_url": pulumi.Output.concat(url, "/score"),
        }
        self.outputs |= {output: pulumi.Output.all(**outputs)} if output else outputs

    def _start_server(
        self, server: str, settings: ServingSettings, models: Sequence[str], *, pipeline: str, port: int | None
    ) -> None:
        """Start a server of the models in the cluster or on this computer.

        Args:
            server: the name of the server.
            settings: the settings of all model servers.
            models: the models by name, whose champions are set.
            pipeline: the pipeline with the setting `port`, for errors.
            port: the port of a further server; None for `serving:port`.
        """
        champions = {model: self.champions[model] for model in models}
        if port:  # one port of gRPC serves one server
            settings = settings.model_copy(update={"grpc_port": None})
        if self.serving:
            service = ModelService(
                server,
                settings,
                self.servers_of.get(self.team_of.get(pipeline, ""), self.serving),
                port=port or settings.port,
                champions=champions,
                canary=None if port else settings.canary,
                trial=None if port else self.platform.trial,
            )
            self.services.append(service)
            url = service.url
        else:
            url = model_server(
                server,
                settings,
                port=port or settings.port,
                setting=f"workloads:pipelines.{pipeline}.port" if port else "serving:port",
                tracking_url=self.platform.tracking.url,
                champions=champions,
                directory=self.platform.directory,
            ).url
        self.servers |= dict.fromkeys(models, url)

    def _inherited_outputs(self, name: str, pipeline: PipelineSettings) -> pulumi.Input[dict[str, str]]:
        """Return outputs in place of the first run if the pipeline's model came from another stack, else {}."""
        if self.models_from is None or not pipeline.serve:
            return {}
        return self.models_from.champions.apply(
            lambda versions: inherited_outputs(pipeline.model or name, versions, "another stack")
        )

    def _platform_parameters(
        self, name: str, pipeline: PipelineSettings, team: Team | None
    ) -> dict[str, pulumi.Input[Any]]:
        """Return values for parameters that a pipeline may declare."""
        parameters: dict[str, pulumi.Input[Any]] = {"model_name": pipeline.uses_model or pipeline.model or name}
        if containers := self.platform.containers(team):
            parameters |= {"account_url": containers[0].account_url, "container": containers[0].container}
        if pipeline.gate is not None:
            parameters |= gate_parameters(pipeline.gate_conditions)
        if (monitoring := self.platform.monitoring) and not team:
            parameters["prometheus_url"] = monitoring.inside_url
        if pipeline.uses_model:
            parameters["model_version"] = self.champions[pipeline.uses_model].version
            if self.serving is None:
                parameters["server_url"] = self.servers[pipeline.uses_model]
        return parameters
