"""What a pipeline engine does, whichever it is: keep versions of a pipeline's package, and run one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True)
class RunRequest:
    """One run of an uploaded package.

    `secrets` reach the steps as environment variables and never stand in the package, the arguments, a log or the
    state. `key` is the same for the same package, arguments and data. `tracking_url` is where steps reach MLflow. A run
    that takes longer than `timeout_minutes` has failed.
    """

    pipeline: str
    run_id: str
    version_id: str
    arguments: Mapping[str, Any]
    secrets: Mapping[str, str] = field(default_factory=dict)
    key: str = ""
    tracking_url: str = ""
    timeout_minutes: int = 360


@dataclass(frozen=True)
class RunResult:
    """How a run ended: `outputs` are the pipeline's own; `steps` as the runner's result file describes them."""

    state: str
    outputs: dict[str, Any]
    steps: list[dict[str, Any]]
    log: str
    failed_step: str | None = None
    error: str = ""

    @classmethod
    def read(cls, result: Mapping[str, Any], log: str) -> RunResult:
        """The result as the runner writes it, see `workloads.engines.kfp_runner`."""
        return cls(
            state=result["state"],
            outputs=result["outputs"],
            steps=result["steps"],
            log=log,
            failed_step=result["failed_step"],
            error=result["error"] or "",
        )

    @property
    def succeeded(self) -> bool:
        return self.state == "SUCCEEDED"


class Engine(Protocol):
    """Runs compiled pipeline packages."""

    def upload(self, pipeline: str, version: str, package: str, secrets: Sequence[str], timeout_minutes: int) -> str:
        """Keep `package` (IR YAML) as `version` of `pipeline`; the same twice is no error. Returns the version's id.

        `secrets` are the names of the secrets that its runs will have, `timeout_minutes` is how long one may take.
        """

    def remove(self, version_id: str) -> None:
        """Forget a version; one that is gone already is no error."""

    def left_behind(self, pipeline: str, key: str) -> str | None:
        """The id of a run of this key that outlived the `up` that began it; None where there is none.

        `run` with that id and key goes on with it.
        """

    def run(self, request: RunRequest) -> RunResult:
        """Run to the end. A step that fails is a result, not an exception."""


def engine(properties: Mapping[str, str]) -> Engine:
    """The engine that a resource's `engine` input describes: `kind` and what that kind needs."""
    if properties["kind"] == "job":
        from workloads.engines.job.job_engine import JobEngine

        return JobEngine(properties)
    if properties["kind"] == "kubeflow":
        from workloads.engines.kubeflow.kubeflow_engine import KubeflowEngine

        return KubeflowEngine(properties)
    from workloads.engines.local import EmbeddedEngine

    return EmbeddedEngine(properties["directory"])
