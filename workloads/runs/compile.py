"""Compilation of a pipeline's Python code to its package."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from workloads.components import BASE_IMAGE
from workloads.engines.dag.package_repair import repair_package
from workloads.engines.dag.package_support import require_portable
from workloads.runs.pipeline_package import PipelinePackage

if TYPE_CHECKING:
    from kfp.dsl.graph_component import GraphComponent

BACKOFF = {"backoffDuration": "5s", "backoffFactor": 2.0, "backoffMaxDuration": "604800s"}
"""Pauses between retries: 5 s, then twice as long each time. The maximum is a week: the run's timeout is shorter."""


def compile_pipeline(pipeline: str, image: str, retries: int) -> PipelinePackage:
    """Compile a pipeline of `workloads/pipelines/`.

    Args:
        pipeline: the name of the pipeline, with dashes.
        image: the image of the steps, in place of the components' logical base image.
        retries: retries of a failed step, for steps without their own retry policy.

    Raises:
        ValueError: the pipeline does not exist, or its file does not define exactly one pipeline.
        UnsupportedPackage: no engine can run the pipeline.
    """
    from workloads import pipelines

    return compile_function(pipelines.load_pipeline(pipeline), image, retries)


def compile_function(pipeline: GraphComponent, image: str, retries: int) -> PipelinePackage:
    """Compile a function with `@dsl.pipeline`; the other arguments are those of `compile_pipeline`.

    Raises:
        UnsupportedPackage: no engine can run the pipeline.
    """
    from kfp import compiler

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "package.yaml"
        compiler.Compiler().compile(pipeline, str(file))
        documents = list(yaml.safe_load_all(file.read_text()))
    ir = documents[0]
    for executor in ir["deploymentSpec"]["executors"].values():
        container = executor.get("container", {})
        if container.get("image") == BASE_IMAGE:
            container["image"] = image
    repair_package(ir)
    require_portable(documents)
    if retries:
        _add_retries(ir, retries)
    return PipelinePackage.from_documents(documents)


def _add_retries(ir: dict[str, Any], retries: int) -> None:
    for component in [ir["root"], *ir["components"].values()]:
        for task in component.get("dag", {}).get("tasks", {}).values():
            if "executorLabel" in ir["components"][task["componentRef"]["name"]]:
                task.setdefault("retryPolicy", {"maxRetryCount": retries, **BACKOFF})
