"""A run of a pipeline, recorded in MLflow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlplatform.tracking_access import TrackingAccess

from infra.errors import UserError
from workloads.engines.base import Engine, RunRequest, RunResult
from workloads.mlflow_session import mlflow_session


def run_and_record(
    engine: Engine,
    request: RunRequest,
    access: TrackingAccess[str],
    arguments: Mapping[str, Any],
    tags: Mapping[str, str],
) -> RunResult:
    """Run a version to its end, record the run in MLflow, and return the result.

    Args:
        engine: the engine that has the version.
        request: the version and its arguments.
        access: the MLflow server.
        arguments: the arguments to record, without those of one run.
        tags: tags of the run in MLflow.

    Raises:
        UserError: the run failed, with the step, its last log lines and the path of the log; or MLflow did not record
            it.
    """
    from workloads.ml import tracking

    result = engine.run(request)
    with mlflow_session(access) as url:
        from mlflow.exceptions import MlflowException

        try:
            tracking.record(url, request.pipeline, request.run_id, arguments, result, tags)
        except MlflowException as error:
            raise UserError(
                f"MLflow did not record the run {request.run_id} of pipeline {request.pipeline}: {error.message}. Its "
                "log has the reason. The next `pulumi up` repeats or resumes the run"
            ) from None
    if not result.succeeded:
        step = f"in step {result.failed_step}" if result.failed_step else "outside its steps"
        log = "\n".join(f"  {line}" for line in result.error.splitlines())
        raise UserError(f"pipeline {request.pipeline} failed {step}:\n{log}\nThe whole log: {result.log}")
    return result
