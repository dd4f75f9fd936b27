"""Whether a platform runs pipelines at all, before any pipeline that is of use is given to it."""

from __future__ import annotations

import hashlib
import tempfile
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, Resource, UpdateResult

from infra.dynamic import Failure, Provider, plain_failures
from workloads.engines.engine import RunRequest, engine

NAME = "smoke-test"
MINUTES = 10


class _SmokeTestProvider(Provider):
    compared = ("engine", "image")

    @plain_failures
    def create(self, props: dict[str, Any]) -> CreateResult:
        return CreateResult(NAME, _passed(props))

    @plain_failures
    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        return UpdateResult(_passed(_news))

    @plain_failures
    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        engine(_props["engine"]).remove(_props["version_id"])


class SmokeTest(Resource, module="workloads", name="SmokeTest"):
    """A pipeline of one step that does nothing, run to its end by an engine.

    Args:
        image: what the step runs in; it has to have Python.

    Raises (as a failed resource):
        Failure: the run failed or does not go on; with what the engine says.
    """

    def __init__(
        self,
        name: str,
        *,
        engine: Mapping[str, pulumi.Input[str]],
        image: pulumi.Input[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        props = {"engine": dict(engine), "image": image, "version_id": None}
        super().__init__(_SmokeTestProvider(), name, props, opts)


def _passed(props: dict[str, Any]) -> dict[str, Any]:
    runs = engine(props["engine"])
    version_id = runs.upload(NAME, NAME, package(props["image"]), [], MINUTES)
    key = hashlib.sha256(props["image"].encode()).hexdigest()
    # A run that a killed `up` has left is as good; one that an earlier `up` has seen the end of is not.
    run_id = runs.left_behind(NAME, key) or f"{NAME}-{uuid.uuid4().hex[:6]}"
    result = runs.run(RunRequest(NAME, run_id, version_id, {}, key=key, timeout_minutes=MINUTES))
    if not result.succeeded:
        log = "\n".join(f"  {line}" for line in result.error.splitlines())
        raise Failure(f"pipelines cannot be run: one whose step does nothing failed:\n{log}")
    return props | {"version_id": version_id}


def package(image: str) -> str:
    """The pipeline (IR YAML)."""
    from kfp import compiler, dsl

    @dsl.container_component
    def nothing():  # type: ignore[no-untyped-def]  # kfp reads annotations, which are text here
        return dsl.ContainerSpec(image=image, command=["python3", "-c", "pass"])

    @dsl.pipeline(name=NAME, description="Can pipelines be run here?")
    def smoke_test():  # type: ignore[no-untyped-def]
        nothing().set_caching_options(False)

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "package.yaml"
        compiler.Compiler().compile(smoke_test, str(file))
        return file.read_text()
