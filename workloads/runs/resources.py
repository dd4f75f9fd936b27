"""Pulumi resources of a pipeline: its compiled package, its version in an engine, and its run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pulumi
from mlplatform.engine_config import EngineConfig, engine_inputs, parse_engine_config
from mlplatform.tracking_access import TrackingAccess, parse_tracking_access
from pulumi.dynamic import CreateResult, DiffResult, Resource, UpdateResult

from infra.dynamic_provider import DynamicProvider, UserError, any_changed
from workloads.engines.base import RunRequest, RunResult, RunState
from workloads.engines.dag.package_support import UnsupportedPackage
from workloads.engines.factory import create_engine
from workloads.runs.adopted_champion import adopted_outputs
from workloads.runs.arguments import add_run_parameters, resolve_arguments
from workloads.runs.compiler import CompileError, Compiler
from workloads.runs.lost_result import result_is_lost
from workloads.runs.recorded_run import run_and_record

VERSION_CHARACTERS = 12
"""Characters of a package's SHA-256 that name its version."""

_compiler = Compiler()


class _CompiledPipelineProvider(DynamicProvider):
    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        if not any_changed(_olds, _news, ("pipeline", "image", "retries", "sources")):
            return DiffResult(changes=False)
        if any_changed(_olds, _news, ("pipeline",)) or pulumi.contains_unknowns(_news["image"]):
            return DiffResult(changes=True)
        # A changed comment leaves the package as it is. The diff compiles, so that a preview shows the right runs.
        return DiffResult(changes=_compile(_news)["sha256"] != _olds["sha256"])

    def create(self, props: dict[str, Any]) -> CreateResult:
        return CreateResult(props["pipeline"], props | _compile(props))

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        return UpdateResult(self.create(_news).outs)


class CompiledPipeline(Resource, module="workloads", name="CompiledPipeline"):
    """Package of a pipeline of `workloads/pipelines/`.

    Args:
        pipeline: the name of the pipeline, with dashes.
        image: the image of the steps; a logical name if steps run on this computer.
        retries: retries of a failed step, for steps without their own retry policy.
        sources: the digest of the pipeline's source files; a new digest compiles the pipeline again.

    Outputs:
        ir, parameters, sha256: see `workloads.runs.pipeline_package.PipelinePackage`.
    """

    ir: pulumi.Output[str]
    parameters: pulumi.Output[dict[str, Any]]
    sha256: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        *,
        pipeline: str,
        image: pulumi.Input[str],
        retries: int,
        sources: str,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        props = {
            "pipeline": pipeline,
            "image": image,
            "retries": retries,
            "sources": sources,
            **dict.fromkeys(("ir", "parameters", "sha256")),
        }
        super().__init__(_CompiledPipelineProvider(), name, props, opts)


def _compile(props: dict[str, Any]) -> dict[str, Any]:
    try:
        package = _compiler.compile(props["pipeline"], props["image"], int(props["retries"]))
    except CompileError as error:
        raise UserError(f"workloads/pipelines: {props['pipeline']} does not compile: {error}") from None
    return dict(vars(package))


class _PipelineVersionProvider(DynamicProvider):
    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        return DiffResult(
            changes=any_changed(_olds, _news, ("engine", "pipeline", "sha256", "secrets", "timeout_minutes"))
        )

    def create(self, props: dict[str, Any]) -> CreateResult:
        version = props["sha256"][:VERSION_CHARACTERS]
        try:
            version_id = create_engine(parse_engine_config(props["engine"])).upload(
                props["pipeline"], version, props["ir"], props["secrets"], int(props["timeout_minutes"])
            )
        except UnsupportedPackage as error:
            raise UserError(f"workloads/pipelines: {props['pipeline']}: {error}") from None
        # The package is large: the state has it in the outputs of `CompiledPipeline` and in the inputs of this version.
        outputs = {name: value for name, value in props.items() if name != "ir"}
        return CreateResult(f"{props['pipeline']}@{version}", outputs | {"version_id": version_id})

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        created = self.create(_news).outs or {}
        if _olds["engine"] == _news["engine"] and _olds["version_id"] != created["version_id"]:
            create_engine(parse_engine_config(_news["engine"])).remove_replaced(_olds["version_id"])
        return UpdateResult(created)

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        create_engine(parse_engine_config(_props["engine"])).remove_pipeline(_props["version_id"])


class PipelineVersion(Resource, module="workloads", name="PipelineVersion"):
    """Version of a pipeline in an engine. Its name is the digest of the package: a package has one version.

    Args:
        secrets: names of the secrets that the runs have.
        timeout_minutes: the timeout of a run.
    """

    version_id: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        *,
        engine: EngineConfig[pulumi.Input[str]],
        pipeline: str,
        compiled: CompiledPipeline,
        secrets: Sequence[str],
        timeout_minutes: int,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        props = {
            "engine": engine_inputs(engine),
            "pipeline": pipeline,
            "ir": compiled.ir,
            "sha256": compiled.sha256,
            "secrets": list(secrets),
            "timeout_minutes": timeout_minutes,
            "version_id": None,
        }
        super().__init__(_PipelineVersionProvider(), name, props, opts)


class _PipelineRunProvider(DynamicProvider):
    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        if any_changed(_olds, _news, ("pipeline", "sha256", "data_fingerprint")):
            return DiffResult(changes=True)
        return DiffResult(changes=_arguments(_news) != _olds["arguments"] or result_is_lost(_olds, _news["access"]))

    def create(self, props: dict[str, Any]) -> CreateResult:
        if inherited := props["inherited_outputs"] or adopted_outputs(props["access"], props["adopted_model"]):
            result = RunResult(RunState.INHERITED, inherited, [], "")
            return CreateResult(props["pipeline"], props | _outputs(_arguments(props), result, ""))
        return CreateResult(props["pipeline"], _run(props))

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        return UpdateResult(_run(_news))


class PipelineRun(Resource, module="workloads", name="PipelineRun"):
    """Run of a pipeline version to its end.

    A change of package, parameters or data runs the pipeline again. So does a model registry that lacks the result,
    for example after its database was deleted.

    Args:
        parameters: parameters from the settings.
        platform: parameters from the platform; a pipeline gets those that it declares. The run is skipped if the
            pipeline takes `model_version` and the model has no champion yet.
        secrets: environment variables of the steps (secret). A new value alone starts no run.
        access: access to the MLflow server from this computer.
        steps_tracking_url: the address of the MLflow server for the steps.
        timeout_minutes: the timeout of the run.
        data_fingerprint: fingerprint of the data that the pipeline reads.
        inherited_outputs: outputs of the first run if the model came from another stack, else {}. The pipeline then
            first runs after a change.
        adopted_model: the model whose champion in MLflow replaces the first run in the same way; "" for none.
        tags: tags of the run in MLflow, such as the git commit. A new value alone starts no run.
        opts: options of the resource, without a parent.

    Outputs:
        arguments: the arguments of the run, without its id and the address of MLflow.
        state: SUCCEEDED, SKIPPED or INHERITED. A failed run fails the resource.
        outputs: the outputs of the pipeline by name.
        artifacts: the addresses of the steps' artifacts, by `step.name`.

    Raises (as a failed resource):
        UserError: a parameter is wrong, or a step failed; with the step, its last log lines and the path of the log.
    """

    arguments: pulumi.Output[dict[str, Any]]
    state: pulumi.Output[str]
    run_id: pulumi.Output[str]
    outputs: pulumi.Output[dict[str, Any]]
    artifacts: pulumi.Output[dict[str, str]]
    log: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        *,
        engine: EngineConfig[pulumi.Input[str]],
        pipeline: str,
        version: PipelineVersion,
        compiled: CompiledPipeline,
        parameters: Mapping[str, Any],
        platform: Mapping[str, pulumi.Input[Any]],
        secrets: Mapping[str, pulumi.Input[str]],
        timeout_minutes: int,
        data_fingerprint: str,
        inherited_outputs: pulumi.Input[Mapping[str, str]],
        adopted_model: str,
        access: TrackingAccess[pulumi.Input[str]],
        steps_tracking_url: pulumi.Input[str],
        tags: Mapping[str, str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        props = {
            "engine": engine_inputs(engine),
            "pipeline": pipeline,
            "version_id": version.version_id,
            "declared_parameters": compiled.parameters,
            "sha256": compiled.sha256,
            "parameters": dict(parameters),
            "platform": dict(platform),
            "secrets": dict(secrets),
            "timeout_minutes": timeout_minutes,
            "data_fingerprint": data_fingerprint,
            "inherited_outputs": inherited_outputs,
            "adopted_model": adopted_model,
            "access": access.inputs(),
            "steps_tracking_url": steps_tracking_url,
            "tags": dict(tags),
            "resource": pulumi.create_urn(name, f"pulumi-python:{self._resource_type_name}"),
            **dict.fromkeys(("arguments", "state", "run_id", "outputs", "artifacts", "log")),
        }
        super().__init__(_PipelineRunProvider(), name, props, opts)


def _arguments(props: dict[str, Any]) -> dict[str, Any]:
    return resolve_arguments(props["pipeline"], props["declared_parameters"], props["parameters"], props["platform"])


def _run(props: dict[str, Any]) -> dict[str, Any]:
    arguments = _arguments(props)
    if arguments.get("model_version") == "":
        reason = f"there is no champion of the model {arguments['model_name']} yet"
        return props | _outputs(arguments, RunResult(RunState.SKIPPED, {"reason": reason}, [], ""), "")
    content = json.dumps([props["sha256"], arguments, props["data_fingerprint"]], sort_keys=True)
    key = hashlib.sha256(content.encode()).hexdigest()
    engine = create_engine(parse_engine_config(props["engine"]))
    run_id = engine.find_resumable_run(props["pipeline"], key)
    if run_id is None:
        run_id = f"{props['pipeline']}-{datetime.now(UTC):%Y%m%d-%H%M%S}-{key[:6]}"
    request = RunRequest(
        pipeline=props["pipeline"],
        run_id=run_id,
        key=key,
        version_id=props["version_id"],
        arguments=add_run_parameters(arguments, props["declared_parameters"], run_id, props["steps_tracking_url"]),
        secrets=props["secrets"],
        tracking_url=props["steps_tracking_url"],
        timeout_minutes=int(props["timeout_minutes"]),
        resource=props["resource"],
    )
    tags = props["tags"] | {"package_sha256": props["sha256"]}
    result = run_and_record(engine, request, parse_tracking_access(props["access"]), arguments, tags)
    return props | _outputs(arguments, result, run_id)


def _outputs(arguments: dict[str, Any], result: RunResult, run_id: str) -> dict[str, Any]:
    artifacts = {f"{step['name']}.{a['name']}": a["uri"] for step in result.steps for a in step["artifacts"]}
    return {
        "arguments": arguments,
        "state": str(result.state),
        "run_id": run_id,
        "outputs": result.outputs,
        "artifacts": artifacts,
        "log": result.log,
    }
