"""Interface of a pipeline engine: it keeps versions of a pipeline's package and runs them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class RunState(StrEnum):
    """Final state of a run.

    SKIPPED: the run never started, because the model that it needs has no champion.
    INHERITED: another stack ran the pipeline and this stack took over the model.
    """

    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    SKIPPED = "SKIPPED"
    INHERITED = "INHERITED"


class StepState(StrEnum):
    """State of a step of a run. CACHED: the engine reused the outputs of an earlier run."""

    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    CACHED = "CACHED"
    FAILED = "FAILED"
    SKIPPED = "SKIPPED"


@dataclass(frozen=True)
class RunRequest:
    """Request for one run of an uploaded package.

    Args:
        run_id: the id of the run in logs, in MLflow and in the stack's state.
        version_id: the id that `Engine.upload` returned.
        arguments: values of the pipeline's parameters by name.
        secrets: environment variables of the steps; never part of the package, the arguments, a log or the state.
        key: digest of package, arguments and data; equal for runs that compute the same.
        tracking_url: the address of MLflow for the steps.
        timeout_minutes: a run that takes longer has failed.
        resource: the URN of the Pulumi resource of the run, for its progress; "" without one.
    """

    pipeline: str
    run_id: str
    version_id: str
    arguments: Mapping[str, Any]
    secrets: Mapping[str, str] = field(default_factory=dict)
    key: str = ""
    tracking_url: str = ""
    timeout_minutes: int = 360
    resource: str = ""


@dataclass(frozen=True)
class RunResult:
    """Result of a run.

    Args:
        outputs: the pipeline's outputs by name.
        steps: the steps, in the format of `workloads.engines.kfp_runner`.
        log: the path of the whole log on this computer.
        failed_step: the name of the step that failed first; None if no step failed.
        error: the last log lines of that step, or the reason for the failure.
    """

    state: RunState
    outputs: dict[str, Any]
    steps: list[dict[str, Any]]
    log: str
    failed_step: str | None = None
    error: str = ""

    @classmethod
    def read(cls, result: Mapping[str, Any], log: str) -> RunResult:
        """Return the result from the result file of `workloads.engines.kfp_runner`."""
        return cls(
            state=RunState(result["state"]),
            outputs=result["outputs"],
            steps=result["steps"],
            log=log,
            failed_step=result["failed_step"],
            error=result["error"] or "",
        )

    @property
    def succeeded(self) -> bool:
        """Return True if every step that the run needed succeeded."""
        return self.state == RunState.SUCCEEDED


@dataclass(frozen=True)
class ScheduleRequest:
    """Request for runs of an uploaded package at the times of `cron`: six fields, in UTC."""

    pipeline: str
    version_id: str
    cron: str
    arguments: Mapping[str, Any]
    secrets: Mapping[str, str] = field(default_factory=dict)


class Engine(ABC):
    """Engine that runs compiled pipeline packages."""

    @abstractmethod
    def upload(self, pipeline: str, version: str, ir: str, secrets: Sequence[str], timeout_minutes: int) -> str:
        """Store a package (IR YAML) as a version of a pipeline and return the version's id.

        Repeating an upload has no effect.

        Args:
            pipeline: the name of the pipeline.
            version: the name of the version.
            ir: the package.
            secrets: names of the environment variables that `RunRequest.secrets` will set.
            timeout_minutes: the timeout of each run.

        Raises:
            UnsupportedPackage: the engine does not have a feature of the package.
        """

    @abstractmethod
    def remove(self, version_id: str) -> None:
        """Delete a version, if it exists."""

    def remove_replaced(self, version_id: str) -> None:
        """Delete a version that another one replaces. Engines with pages keep it: they show its runs."""
        self.remove(version_id)

    def remove_pipeline(self, version_id: str) -> None:
        """Delete the pipeline of a version."""
        self.remove(version_id)

    @abstractmethod
    def find_resumable_run(self, pipeline: str, key: str) -> str | None:
        """Return the id of an unfinished run with this key that a killed `pulumi up` started; None without one.

        `run` with the same id and key resumes it.
        """

    @abstractmethod
    def run(self, request: RunRequest) -> RunResult:
        """Run a version to its end. A failed step gives a failed result, not an exception."""


class SchedulingEngine(Engine):
    """Engine with a scheduler."""

    scheduled_run_id: str
    """Placeholder in the arguments that the scheduler replaces with the id of each run."""

    @abstractmethod
    def schedule(self, request: ScheduleRequest) -> None:
        """Start runs at the times of the request; it replaces an earlier schedule, which stays after a failure."""

    @abstractmethod
    def is_scheduled(self, pipeline: str) -> bool:
        """Return True if the pipeline has its schedule. An engine that does not respond raises an exception."""

    @abstractmethod
    def unschedule(self, pipeline: str) -> None:
        """Delete the schedule of a pipeline, if there is one. Started runs continue."""


def timeout_error(minutes: int) -> str:
    """Return the error of a run that exceeded its timeout."""
    return f"the run exceeded its timeout of {minutes} minutes and was stopped"
