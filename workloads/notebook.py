"""The stack in a notebook: its data, and runs of pipelines through its engine.

`make notebook` writes addresses and tokens to environment variables of its process, and to no file.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlplatform.engine_config import EmbeddedEngineConfig
from mlplatform.tracking_access import TrackingAccess

from infra.errors import UserError
from tools.bootstrap.file_lock import file_lock
from workloads import NO_USAGE_REPORTS
from workloads.engines.base import RunRequest, RunResult
from workloads.engines.local_engine import EmbeddedEngine
from workloads.ml.data.storage import TOKEN_VARIABLE, read_data
from workloads.runs.arguments import add_run_parameters, resolve_arguments
from workloads.runs.compile import compile_function
from workloads.runs.origin import git_tags
from workloads.runs.pipeline_sources import local_image
from workloads.runs.recorded_run import run_and_record

if TYPE_CHECKING:
    from kfp.dsl.graph_component import GraphComponent

PRESETS = "MLPLATFORM_NOTEBOOK"
"""Environment variable with addresses and folders, as JSON."""
TRACKING_URL = "MLFLOW_TRACKING_URI"
TIMEOUT_MINUTES = 360


def notebook_variables(tracking_url: str, data: Mapping[str, str] | None, directory: Path) -> dict[str, str]:
    """Return the environment variables of a notebook server.

    Args:
        tracking_url: the address of MLflow.
        data: the output `data_access` of the stack; None without a data store.
        directory: the folder of packages, runs and logs.
    """
    store = dict(data or {})
    token = {TOKEN_VARIABLE: store.pop("token")} if store else {}
    presets = {"directory": str(directory), "store": store}
    quiet = {"MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false", **NO_USAGE_REPORTS}
    return {TRACKING_URL: tracking_url, PRESETS: json.dumps(presets), **quiet, **token}


def read_blob(name: str, container: str = "") -> bytes:
    """Return the content of a file in the stack's data store.

    Args:
        name: the path of the file in its container.
        container: the container. Unset: the one that pipelines read by default.

    Raises:
        UserError: the stack has no data store.
        StepError: the file cannot be read.
    """
    store = _presets()["store"]
    if not store:
        raise UserError("the stack has no data store: set platform:blobs, run `make up`, and start the notebook again")
    return read_data(store["account_url"], container or store["container"], name, "")[0]


def run_pipeline(pipeline: GraphComponent, **arguments: Any) -> RunResult:
    """Run a pipeline on this computer through the stack's engine, record it in MLflow, and return the result.

    Runs of one pipeline wait for each other. A run ends with the kernel of its notebook.

    Args:
        pipeline: a function with `@dsl.pipeline`; `load_pipeline` returns those of `workloads/pipelines/`.
        **arguments: values of its parameters. The address of MLflow, the id of the run and the data store are preset.

    Raises:
        UserError: an argument is wrong, or a step failed.
        UnsupportedPackage: no engine can run the pipeline.
    """
    presets, url = _presets(), os.environ[TRACKING_URL]
    package = compile_function(pipeline, local_image(), retries=0)
    name = pipeline.name
    given = resolve_arguments(name, package.parameters, arguments, presets["store"], setting=f"run_pipeline({name})")
    run_id = f"{name}-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
    directory = Path(presets["directory"])
    engine = EmbeddedEngine(EmbeddedEngineConfig(str(directory)))
    with file_lock(directory / f"{name}.lock", f"Waiting for another run of {name} to end."):
        request = RunRequest(
            pipeline=name,
            run_id=run_id,
            key=run_id,
            version_id=engine.upload(name, package.sha256, package.ir, [], TIMEOUT_MINUTES),
            arguments=add_run_parameters(given, package.parameters, run_id, url),
            tracking_url=url,
            timeout_minutes=TIMEOUT_MINUTES,
        )
        tags = {**git_tags(), "package_sha256": package.sha256, "started_in": "notebook"}
        return run_and_record(engine, request, TrackingAccess(url), given, tags)


def _presets() -> dict[str, Any]:
    """Return the addresses and folders of the stack.

    Raises:
        UserError: `make notebook` did not start this process.
    """
    if PRESETS not in os.environ:
        raise UserError(f"the variable {PRESETS} is not set: start the notebook with `make notebook`")
    presets: dict[str, Any] = json.loads(os.environ[PRESETS])
    return presets
