"""A pipeline as Pulumi resources: its compiled package, the version an engine keeps of it, and its run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pulumi
import yaml
from pulumi.dynamic import CreateResult, DiffResult, Resource, UpdateResult
from pulumi.runtime.rpc import UNKNOWN
from pydantic import ConfigDict, TypeAdapter, ValidationError

from infra.dynamic_provider import DynamicProvider, UserError, any_changed
from infra.kubernetes_client.port_forward import reachable_url
from workloads.engines.base import RunRequest, RunResult, engine

TYPES: dict[str, TypeAdapter[Any]] = {
    "STRING": TypeAdapter(str, config=ConfigDict(coerce_numbers_to_str=True)),
    "NUMBER_INTEGER": TypeAdapter(int),
    "NUMBER_DOUBLE": TypeAdapter(float),
    "BOOLEAN": TypeAdapter(bool),
    "LIST": TypeAdapter(list),
    "STRUCT": TypeAdapter(dict),
}
"""What a parameter of each type of the package format takes; `pulumi config set` hands numbers over as text."""


class _CompiledPipelineProvider(DynamicProvider):
    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        if not any_changed(_olds, _news, ("pipeline", "image", "retries", "sources")):
            return DiffResult(changes=False)
        if any_changed(_olds, _news, ("pipeline",)) or _news["image"] == UNKNOWN:
            return DiffResult(changes=True)
        # A changed comment is no changed package: compile to find out, so that a preview says which runs will follow.
        return DiffResult(changes=_compiled(_news)["sha256"] != _olds["sha256"])

    def create(self, props: dict[str, Any]) -> CreateResult:
        return CreateResult(props["pipeline"], props | _compiled(props))

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        return UpdateResult(self.create(_news).outs)


class CompiledPipeline(Resource, module="workloads", name="CompiledPipeline"):
    """The package (IR YAML) of a pipeline of `workloads/pipelines/`.

    Args:
        pipeline: its name with dashes.
        image: the components' base image: of the registry where each step has a pod of its own, else a name for it.
        retries: how often a step that failed is tried again, where the pipeline does not say it.
        sources: a digest of the files it is compiled from; compiled again only when it changes.
    """

    package: pulumi.Output[str]
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
            "package": None,
            "sha256": None,
        }
        super().__init__(_CompiledPipelineProvider(), name, props, opts)


def _compiled(props: dict[str, Any]) -> dict[str, str]:
    from workloads.runs.compile import compiled

    try:
        package = compiled(props["pipeline"], props["image"], int(props["retries"]))
    except Exception as error:
        raise UserError(f"workloads/pipelines: {props['pipeline']} does not compile: {error}") from error
    return {"package": package, "sha256": hashlib.sha256(package.encode()).hexdigest()}


class _PipelineVersionProvider(DynamicProvider):
    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        return DiffResult(
            changes=any_changed(_olds, _news, ("engine", "pipeline", "sha256", "secrets", "timeout_minutes"))
        )

    def create(self, props: dict[str, Any]) -> CreateResult:
        return CreateResult(f"{props['pipeline']}@{props['sha256'][:12]}", _uploaded(props))

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        return UpdateResult(self.create(_news).outs)

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        engine(_props["engine"]).remove(_props["version_id"])


class PipelineVersion(Resource, module="workloads", name="PipelineVersion"):
    """A package kept by an engine, named by its content: the same package twice is the same version.

    Args:
        secrets: names of the secrets that its runs have.
        timeout_minutes: how long a run of it may take.
    """

    version_id: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        *,
        engine: Mapping[str, pulumi.Input[str]],
        pipeline: str,
        compiled: CompiledPipeline,
        secrets: Sequence[str],
        timeout_minutes: int,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        props = {
            "engine": dict(engine),
            "pipeline": pipeline,
            "package": compiled.package,
            "sha256": compiled.sha256,
            "secrets": list(secrets),
            "timeout_minutes": timeout_minutes,
            "version_id": None,
        }
        super().__init__(_PipelineVersionProvider(), name, props, opts)


def _uploaded(props: dict[str, Any]) -> dict[str, Any]:
    version_id = engine(props["engine"]).upload(
        props["pipeline"], props["sha256"][:12], props["package"], props["secrets"], int(props["timeout_minutes"])
    )
    return props | {"version_id": version_id}


class _PipelineRunProvider(DynamicProvider):
    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        if any_changed(_olds, _news, ("pipeline", "sha256", "data")):
            return DiffResult(changes=True)
        return DiffResult(changes=_arguments(_news) != _olds["arguments"])

    def create(self, props: dict[str, Any]) -> CreateResult:
        if props["inherits"]:
            inherited = RunResult("INHERITED", props["inherits"], [], "")
            return CreateResult(props["pipeline"], props | _outcome(_arguments(props), inherited, ""))
        return CreateResult(props["pipeline"], _run(props))

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        return UpdateResult(_run(_news))


class PipelineRun(Resource, module="workloads", name="PipelineRun"):
    """One run of a pipeline version to its end, again only when package, parameters or data changed.

    Args:
        parameters: what the settings give the pipeline; each must be a parameter of it, of the right type.
        platform: values that the platform offers by name; the pipeline takes those it has parameters for. Where one
            that it takes is empty because there is no model yet, the run is skipped, with the reason as its output.
        secrets: environment variables of the steps (secret; a new value alone does not run the pipeline again).
        tracking_url: the tracking server; `access` is how to reach it, see `infra.kubernetes_client.port_forward`.
        steps_tracking_url: where the steps find it.
        timeout_minutes: how long it may take.
        data: fingerprint of the data it reads.
        inherits: what stands for the first run's outputs where its model came from another stack, {} where it did not:
            then the pipeline is run for the first time when package, parameters or data change.
        notes: tags of the tracked run, such as the git commit; they do not run the pipeline again either.

    Outputs:
        arguments: what the pipeline was run with, but for the run's own id and the address of the tracking server.
        state: SUCCEEDED, SKIPPED or INHERITED (a run that fails fails the resource).
        outputs: what the pipeline function returns, by name.
        artifacts: address of each step's artifacts, as `step.name`.

    Raises (as a failed resource):
        UserError: a wrong parameter, or a failed run: the failing step, its last log lines, where the whole log is.
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
        engine: Mapping[str, pulumi.Input[str]],
        pipeline: str,
        version: PipelineVersion,
        compiled: CompiledPipeline,
        parameters: Mapping[str, Any],
        platform: Mapping[str, pulumi.Input[Any]],
        secrets: Mapping[str, pulumi.Input[str]],
        timeout_minutes: int,
        data: str,
        inherits: pulumi.Input[Mapping[str, str]],
        tracking_url: pulumi.Input[str],
        access: Mapping[str, pulumi.Input[str]],
        steps_tracking_url: pulumi.Input[str],
        notes: Mapping[str, str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        props = {
            "engine": dict(engine),
            "pipeline": pipeline,
            "version_id": version.version_id,
            "package": compiled.package,
            "sha256": compiled.sha256,
            "parameters": dict(parameters),
            "platform": dict(platform),
            "secrets": dict(secrets),
            "timeout_minutes": timeout_minutes,
            "data": data,
            "inherits": inherits,
            "tracking_url": tracking_url,
            "access": dict(access),
            "steps_tracking_url": steps_tracking_url,
            "notes": dict(notes),
            **dict.fromkeys(("arguments", "state", "run_id", "outputs", "artifacts", "log")),
        }
        super().__init__(_PipelineRunProvider(), name, props, opts)


def _arguments(props: dict[str, Any]) -> dict[str, Any]:
    """What the pipeline is run with: the settings' parameters over the platform's values, of those that it declares.

    Values that a preview cannot know stay as they are.
    """
    if UNKNOWN in (props["package"], props["parameters"], props["platform"]):
        return {}
    declared = declared_parameters(props["package"])
    setting = f"workloads:pipelines.{props['pipeline']}.parameters"
    if unknown := sorted(set(props["parameters"]) - set(declared)):
        raise UserError(
            f"{setting}: the pipeline has no parameter {', '.join(unknown)}; "
            f"it has: {', '.join(sorted(declared)) or 'none'}"
        )
    given = {name: value for name, value in props["platform"].items() if name in declared} | props["parameters"]
    required = {name for name, spec in declared.items() if not spec.get("isOptional") and "defaultValue" not in spec}
    if missing := sorted(required - set(given) - {"run_key", "tracking_url"}):
        raise UserError(f"{setting}: {', '.join(missing)} must be set: the pipeline has no default for it")
    return {name: _typed(f"{setting}.{name}", declared[name]["parameterType"], value) for name, value in given.items()}


def with_own(arguments: Mapping[str, Any], package: str, run_key: str, tracking_url: str) -> dict[str, Any]:
    """The arguments and what a run alone knows, of which a pipeline takes what it declares."""
    own = {"run_key": run_key, "tracking_url": tracking_url}
    declared = declared_parameters(package)
    return {**arguments, **{name: value for name, value in own.items() if name in declared}}


def declared_parameters(package: str) -> dict[str, Any]:
    """The pipeline's parameters as its package declares them; a second document is for a platform, not for them."""
    root = next(yaml.safe_load_all(package))["root"]
    return dict(root.get("inputDefinitions", {}).get("parameters", {}))


def _typed(setting: str, kind: str, value: Any) -> Any:
    if value == UNKNOWN:
        return value
    try:
        return TYPES[kind].validate_python(_whole(value))
    except ValidationError:
        raise UserError(f"{setting}: {value!r} is not of the pipeline's type for it, {kind}") from None


def _whole(value: Any) -> Any:
    """A value as the settings have it: Pulumi hands 5 over as 5.0, which would be another text."""
    if isinstance(value, dict):
        return {name: _whole(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_whole(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _run(props: dict[str, Any]) -> dict[str, Any]:
    from workloads.ml import tracking

    arguments = _arguments(props)
    if arguments.get("model_version") == "":
        reason = f"there is no champion of the model {arguments['model_name']} yet"
        return props | _outcome(arguments, RunResult("SKIPPED", {"reason": reason}, [], ""), "")
    key = hashlib.sha256(json.dumps([props["sha256"], arguments, props["data"]], sort_keys=True).encode()).hexdigest()
    runs = engine(props["engine"])
    run_id = runs.left_behind(props["pipeline"], key)
    if run_id is None:
        run_id = f"{props['pipeline']}-{datetime.now(UTC):%Y%m%d-%H%M%S}-{key[:6]}"
    result = runs.run(
        RunRequest(
            pipeline=props["pipeline"],
            run_id=run_id,
            key=key,
            version_id=props["version_id"],
            arguments=with_own(arguments, props["package"], run_id, props["steps_tracking_url"]),
            secrets=props["secrets"],
            tracking_url=props["steps_tracking_url"],
            timeout_minutes=int(props["timeout_minutes"]),
        )
    )
    notes = props["notes"] | {"package_sha256": props["sha256"]}
    with reachable_url(props["tracking_url"], props["access"]) as url:
        tracking.record(url, props["pipeline"], run_id, arguments, result, notes)
    if not result.succeeded:
        step = f"in step {result.failed_step}" if result.failed_step else "outside its steps"
        log = "\n".join(f"  {line}" for line in result.error.splitlines())
        raise UserError(f"pipeline {props['pipeline']} failed {step}:\n{log}\nThe whole log: {result.log}")
    return props | _outcome(arguments, result, run_id)


def _outcome(arguments: dict[str, Any], result: RunResult, run_id: str) -> dict[str, Any]:
    artifacts = {f"{step['name']}.{a['name']}": a["uri"] for step in result.steps for a in step["artifacts"]}
    return {
        "arguments": arguments,
        "state": result.state,
        "run_id": run_id,
        "outputs": result.outputs,
        "artifacts": artifacts,
        "log": result.log,
    }
