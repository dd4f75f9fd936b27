"""All pipelines of a stack, the models they train and the services that answer with them."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pulumi
from mlplatform.platform import Platform

from settings.paths import PROJECT
from settings.serving import ServingSettings
from settings.stack import Settings
from settings.workloads import PipelineSettings
from workloads.model_transfer.model_transfer import ModelsFrom, models_from
from workloads.runs.compile import local_image, sources
from workloads.runs.resources import CompiledPipeline, PipelineRun, PipelineVersion
from workloads.runs.schedule import PipelineSchedule
from workloads.serving.champion import ALIAS, Champion, model_server
from workloads.serving.kubernetes import ServingNamespace, model_service, serving_namespace

SMOKE_TEST = "smoke-test"
"""The pipeline that all others wait for where each step has a pod of its own."""


def deploy(settings: Settings, platform: Platform) -> dict[str, pulumi.Output[Any]]:
    """Run the pipelines, appoint the champions, start the services. Returns the stack's outputs by name."""
    pipelines = settings.workloads.pipelines
    serves = any(pipeline.serve for pipeline in pipelines.values())
    room = serving_namespace(platform.place, platform.tracking) if platform.place and serves else None
    if settings.serving.canary and room is None:
        raise pulumi.RunError("serving:canary: processes of this computer cannot share an address; it takes a cluster")
    source = settings.workloads.models_from
    workloads = _Workloads(
        platform,
        image=platform.steps_image or local_image(),
        notes=_notes(),
        room=room,
        inherited=models_from(source, platform) if source else None,
    )
    if platform.steps_image and SMOKE_TEST not in pipelines:
        # Rollouts say that an engine's parts run, not that a run gets through them.
        ran = workloads.run(SMOKE_TEST, PipelineSettings(timeout_minutes=10))
        workloads.platform = replace(platform, run_after=[*platform.run_after, ran])
    # A pipeline that works with a model waits for the pipeline that trains it.
    for name, pipeline in sorted(pipelines.items(), key=lambda item: item[1].uses_model is not None):
        run = workloads.run(name, pipeline)
        if pipeline.serve:
            workloads.serve(name, pipeline, run, settings)
    return workloads.outputs


@dataclass
class _Workloads:
    platform: Platform
    image: pulumi.Input[str]
    notes: Mapping[str, str]
    room: ServingNamespace | None
    """Where models are served in a cluster; None where by processes of this computer."""
    inherited: ModelsFrom | None
    """Models of another stack, before which no pipeline of this one registers any."""
    champions: dict[str, Champion] = field(default_factory=dict)
    servers: dict[str, pulumi.Output[str]] = field(default_factory=dict)
    outputs: dict[str, pulumi.Output[Any]] = field(default_factory=dict)

    def run(self, name: str, pipeline: PipelineSettings) -> PipelineRun:
        secrets = self._secrets()
        compiled = CompiledPipeline(
            f"{name}-package", pipeline=name, image=self.image, retries=pipeline.retries, sources=sources(name)
        )
        version = PipelineVersion(
            f"{name}-version",
            engine=self.platform.engine,
            pipeline=name,
            compiled=compiled,
            secrets=sorted(secrets),
            timeout_minutes=pipeline.timeout_minutes,
            opts=pulumi.ResourceOptions(depends_on=self.platform.run_after),
        )
        blobs = self.platform.blobs
        run = PipelineRun(
            f"{name}-run",
            engine=self.platform.engine,
            pipeline=name,
            version=version,
            compiled=compiled,
            parameters=pipeline.parameters,
            platform=self._offers(name, pipeline),
            secrets=secrets,
            timeout_minutes=pipeline.timeout_minutes,
            data=self._fingerprint(pipeline),
            inherits=self._inherits(name, pipeline),
            tracking_url=self.platform.tracking_url,
            access=self.platform.tracking.access,
            steps_tracking_url=self.platform.steps_tracking_url,
            notes=self.notes,
            opts=pulumi.ResourceOptions(
                depends_on=[
                    *self.platform.run_after,
                    *(blobs.uploads if blobs else []),
                    *([self.inherited] if self.inherited else []),
                ]
            ),
        )
        if pipeline.schedule:
            PipelineSchedule(
                f"{name}-schedule",
                engine=self.platform.engine,
                pipeline=name,
                schedule=pipeline.schedule,
                version=version,
                compiled=compiled,
                run=run,
                secrets=secrets,
                steps_tracking_url=self.platform.steps_tracking_url,
            )
        self.outputs[name.replace("-", "_")] = pulumi.Output.all(
            state=run.state, run_id=run.run_id, outputs=run.outputs, artifacts=run.artifacts, log=run.log
        ).apply(_flattened)
        return run

    def serve(self, name: str, pipeline: PipelineSettings, run: PipelineRun, settings: Settings) -> None:
        """Appoint the champion of the pipeline's model and start its server."""
        model = pipeline.model or name
        champion = Champion(
            f"{model}-champion",
            tracking_url=self.platform.tracking_url,
            access=self.platform.tracking.access,
            model=model,
            deployed=run.outputs.apply(lambda outputs: _deployed_version(name, outputs)),
            run_id=run.run_id,
            pinned=str(pipeline.version or ""),
            setting=f"workloads:pipelines.{name}.version",
        )
        self.champions[model] = champion
        url = self.servers[model] = self._server_url(name, pipeline, model, champion, settings.serving)
        served = {
            "model": pulumi.Output.all(
                name=model,
                version=champion.version,
                alias=ALIAS,
                sha256=champion.sha256,
                accuracy=champion.accuracy,
            ),
            "score_url": pulumi.Output.concat(url, "/score"),
        }
        if pipeline.port is None:
            self.outputs |= served
        else:
            self.outputs[f"{model.replace('-', '_')}_service"] = pulumi.Output.all(**served)

    def _server_url(
        self, name: str, pipeline: PipelineSettings, model: str, champion: Champion, settings: ServingSettings
    ) -> pulumi.Output[str]:
        """The address of the model's server, which runs where the platform has its services."""
        port = pipeline.port or settings.port
        if self.room:
            canary = settings.canary if pipeline.port is None else None
            return model_service(
                f"{model}-server", settings, self.room, port=port, model=model, champion=champion, canary=canary
            )
        return model_server(
            f"{model}-server",
            settings,
            port=port,
            setting=f"workloads:pipelines.{name}.port" if pipeline.port else "serving:port",
            tracking_url=self.platform.tracking_url,
            model=model,
            champion=champion,
            directory=self.platform.directory,
        ).url

    def _inherits(self, name: str, pipeline: PipelineSettings) -> pulumi.Input[dict[str, str]]:
        """What stands for the first run of a pipeline whose model came from another stack."""
        if self.inherited is None or not pipeline.serve:
            return {}
        return self.inherited.champions.apply(lambda versions: _inherited(pipeline.model or name, versions))

    def _secrets(self) -> dict[str, pulumi.Input[str]]:
        """What steps need to know and nobody else: environment variables of theirs."""
        secrets: dict[str, pulumi.Input[str]] = {}
        if blobs := self.platform.blobs:
            secrets["AZURE_STORAGE_KEY"] = blobs.account_key
        access = self.platform.tracking.access
        if "username" in access:
            secrets |= {
                "MLFLOW_TRACKING_USERNAME": access["username"],
                "MLFLOW_TRACKING_PASSWORD": access["password"],
            }
        if monitoring := self.platform.monitoring:
            secrets |= {"PROMETHEUS_USERNAME": monitoring.username, "PROMETHEUS_PASSWORD": monitoring.password}
        return secrets

    def _offers(self, name: str, pipeline: PipelineSettings) -> dict[str, pulumi.Input[Any]]:
        """What a pipeline gets without asking, where it has a parameter of that name."""
        offers: dict[str, pulumi.Input[Any]] = {"model_name": pipeline.uses_model or pipeline.model or name}
        if blobs := self.platform.blobs:
            offers |= {"account_url": blobs.account_url, "container": blobs.container}
        if pipeline.gate is not None:
            offers["baseline"] = pipeline.gate
        if monitoring := self.platform.monitoring:
            offers["prometheus_url"] = monitoring.inside_url
        if pipeline.uses_model:
            offers["model_version"] = self.champions[pipeline.uses_model].version
            if self.room is None:
                offers["server_url"] = self.servers[pipeline.uses_model]
        return offers

    def _fingerprint(self, pipeline: PipelineSettings) -> str:
        """SHA-256 of the data that a pipeline reads, as far as it is at hand, with the settings' `data_version`."""
        url = str(pipeline.parameters.get("data_url", ""))
        file = PROJECT / url.removeprefix("file://")
        if url and file.is_file():
            content = hashlib.sha256(file.read_bytes()).hexdigest()
        else:
            blobs = self.platform.blobs.fingerprints if self.platform.blobs else {}
            content = blobs.get(str(pipeline.parameters.get("blob", "")), "")
        return f"{content} {pipeline.data_version}".strip()


def _inherited(model: str, champions: Mapping[str, str]) -> dict[str, str]:
    if model not in champions:
        return {}
    version = champions[model]
    return {"version": version, "decision": f"{model} version {version} came as champion from another stack"}


def _deployed_version(pipeline: str, outputs: dict[str, Any]) -> str:
    if "version" not in outputs:
        raise pulumi.RunError(
            f"workloads:pipelines.{pipeline}.serve: the pipeline must return `version`, the registered "
            f"model version that it deployed or an empty text; it returns: {', '.join(outputs) or 'nothing'}"
        )
    return str(outputs["version"])


def _flattened(run: dict[str, Any]) -> dict[str, Any]:
    """The run as a stack output: what the pipeline returned stands beside how it went."""
    return {**run["outputs"], **{key: run[key] for key in ("state", "run_id", "artifacts", "log")}}


def _notes() -> dict[str, str]:
    """The git commit of the program, `-dirty` with changes; nothing outside a git checkout."""
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
    )
    return {"git_commit": described.stdout.strip()} if described.returncode == 0 else {}
