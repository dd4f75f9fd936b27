"""Settings of the namespace `workloads`: pipelines and their models."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints, model_validator

from settings.cron import Schedule
from settings.types import Name, Parameter, Port, Section


class PipelineSettings(Section):
    """One pipeline of `workloads/pipelines/`, by the name of its file with dashes."""

    parameters: dict[str, Parameter] = Field(default_factory=dict)
    model: Name | None = None
    """The registered model's name that it trains; the pipeline's own name where unset."""
    gate: float | None = None
    """Reaches the pipeline as its parameter `baseline`."""
    serve: bool = False
    port: Port | None = None
    """Where its model is served; `serving:port` where unset."""
    version: int | None = Field(default=None, ge=1)
    """Serve this registered version instead of the newest that passed the gate: a rollback."""
    uses_model: Name | None = None
    """The served model whose champion it works with, as its parameters `model_name` and `model_version`."""
    data_version: str = ""
    """Change it to run again on data whose change cannot be seen from here (a remote URL)."""
    schedule: Schedule | None = None
    """When it runs by itself; only Kubeflow Pipelines has a scheduler."""
    timeout_minutes: int = Field(default=360, ge=1, le=10_080)
    """A run that takes longer has failed."""
    retries: int = Field(default=0, ge=0, le=10)
    """How often a step that failed is tried again, where the pipeline itself does not say it."""

    @model_validator(mode="after")
    def _serving_settings_need_serve(self) -> PipelineSettings:
        if not self.serve and (self.version is not None or self.port is not None):
            raise ValueError("version and port are for a pipeline with serve: true")
        return self


class WorkloadsSettings(Section):
    """What the data scientists own."""

    pipelines: dict[Name, PipelineSettings] = Field(default_factory=dict)
    models_from: Annotated[str, StringConstraints(pattern=r"^[\w.-]+(/[\w.-]+/[\w.-]+)?$")] | None = None
    """The stack whose champions this one begins with: its name, or `organization/project/name`."""
