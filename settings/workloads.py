"""Settings of the namespace `workloads`: pipelines and their models."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from settings.pipelines.cron import Schedule
from settings.pipelines.dask_section import DaskSection
from settings.pipelines.gate import GateSetting, gate_conditions
from settings.pipelines.tuning import TuneSection
from settings.services.door_settings import Visibility
from settings.services.team_settings import TeamName, TeamSettings, owners
from settings.types import Name, Parameter, Port, Section

ColumnKind = Literal["number", "integer", "boolean", "category", "date", "ignore"]


def _cell_text(value: Any) -> Any:
    """Return a number as a cell of a file has it: Pulumi passes the number 5 as 5.0."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


CellText = Annotated[str, BeforeValidator(_cell_text)]


class ColumnSection(Section):
    """A column of a pipeline's data, as far as its cells leave a doubt."""

    type: ColumnKind | None = None
    """Type of the column, or `ignore` to leave it out. Unset: the type that all cells have. Of a target, only
    `category`: each text is a class, also one such as `NA`."""
    missing: bool | Literal["drop"] = False
    """Allow empty cells. `drop` leaves out the rows in which the cell is empty; a target takes only that."""
    missing_texts: list[CellText] = Field(default_factory=list)
    """Texts that mean an empty cell, such as `NA`. A text that is a number or a date stands for all its spellings."""
    categories: list[CellText] = Field(default_factory=list)
    """All categories in their order. Unset: those of the data, sorted."""
    unknown: bool = False
    """Predict rows with an unlisted category as if it were missing. Otherwise such rows are refused."""
    unit: str = ""
    """Unit of the target of a regression, such as `EUR`."""


ColumnName = Annotated[str, StringConstraints(pattern=r"\S")]
Column = Annotated[ColumnSection, BeforeValidator(lambda value: {"type": value} if isinstance(value, str) else value)]
"""A column; a text is its type."""


class PipelineSettings(Section):
    """A pipeline of `workloads/pipelines/`. Its name is the file name with dashes instead of underscores."""

    parameters: dict[str, Parameter] = Field(default_factory=dict)
    """Arguments of the pipeline function. Names and types are checked against the function."""
    columns: dict[ColumnName, Column] = Field(default_factory=dict)
    """Types of columns by name, such as `{postcode: category, age: {type: number, missing: true}}`; see
    [Data](pipelines.md#data). The pipeline receives it as its parameter `columns`."""
    tune: TuneSection | None = None
    """Search for the best estimator and parameters, see [Tuning](pipelines.md#tuning). The pipeline receives it as its
    parameter `tune`."""
    dask: DaskSection | None = None
    """Workers that share the preprocessing and the training, see [Large data](pipelines.md#large-data). The pipeline
    receives it as its parameter `dask`."""
    model: Name | None = None
    """Name of the registered model that the pipeline trains. Unset: the name of the pipeline."""
    gate: GateSetting | None = None
    """Condition that a new model has to meet before it becomes the champion. A number is the accuracy to exceed.
    `{metric: rmse, below: 3.5}` names another metric, and a list has several conditions. The platform applies the gate
    with `serve: true`. A pipeline receives it as its parameter `gate`, and a plain accuracy as `baseline`, too.
    Unset: the default of `baseline` applies, 0.7 in `iris-external`."""
    serve: bool = False
    """Give the alias `champion` to the version that the pipeline deployed, and serve that version."""
    port: Port | None = None
    """Port of the model server for this model. Unset: `serving:port`. Set a different port for each further model."""
    version: int | None = Field(default=None, ge=1)
    """Registered version to serve instead of the newest that passed the gate. Set it to roll back."""
    visibility: Visibility = "team"
    """Callers of the model at `platform:door`: `private` is administrators and tokens for the model, `team` adds
    all persons that signed in, and `public` all clients."""
    uses_model: Name | None = None
    """Served model that the pipeline works with. The pipeline runs after the pipeline that trains this model, and
    receives the champion as its parameters `model_name` and `model_version`."""
    data_version: str = ""
    """Any text. Change it to run the pipeline again on remote data that `pulumi up` cannot compare."""
    schedule: Schedule | None = None
    """Times of further runs: a cron expression in UTC, such as `30 2 * * MON-FRI`. A sixth field in front sets the
    seconds. Needs `platform:pipelines: kubeflow`. Unset: the pipeline runs during `pulumi up` only."""
    timeout_minutes: int = Field(default=360, ge=1, le=10_080)
    """Longest time of a run in minutes, at most a week. A longer run is stopped and counts as failed."""
    retries: int = Field(default=0, ge=0, le=10)
    """Retries of a failed step: the first after 5 seconds, the next after 10, and so on. A step that calls `set_retry`
    keeps its value."""

    @property
    def arguments(self) -> dict[str, Any]:
        """Return the parameters together with the columns, the search and the workers."""
        columns = {name: column.model_dump(exclude_unset=True) for name, column in self.columns.items()}
        tune = {} if self.tune is None else {"tune": self.tune.model_dump(mode="json", exclude_unset=True)}
        dask = {} if self.dask is None else {"dask": self.dask.model_dump()}
        return {**self.parameters, **({"columns": columns} if columns else {}), **tune, **dask}

    @model_validator(mode="after")
    def _check_columns(self) -> PipelineSettings:
        if self.columns and "columns" in self.parameters:
            raise ValueError("columns and parameters.columns both describe the columns; remove parameters.columns")
        return self

    @model_validator(mode="after")
    def _check_dask(self) -> PipelineSettings:
        if self.dask and "dask" in self.parameters:
            raise ValueError("dask and parameters.dask both describe the workers; remove parameters.dask")
        return self

    @model_validator(mode="after")
    def _check_tune(self) -> PipelineSettings:
        if self.tune is None:
            return self
        if "tune" in self.parameters:
            raise ValueError("tune and parameters.tune both describe the search; remove parameters.tune")
        if self.tune.minutes >= self.timeout_minutes:
            limits = f"tune.minutes is {self.tune.minutes:g}, and timeout_minutes is {self.timeout_minutes}"
            raise ValueError(f"{limits}; the search has to end before the run is stopped")
        return self

    @model_validator(mode="after")
    def _check_serve(self) -> PipelineSettings:
        if not self.serve and (self.version is not None or self.port is not None):
            raise ValueError("version and port need serve: true; add serve: true, or remove version and port")
        return self

    @model_validator(mode="after")
    def _check_gate(self) -> PipelineSettings:
        if "gate" in self.parameters:
            raise ValueError("parameters.gate is set by the platform; write gate beside parameters instead")
        if self.gate is not None and "baseline" in self.parameters:
            raise ValueError("gate and parameters.baseline both set the gate; remove parameters.baseline")
        return self

    @property
    def gate_conditions(self) -> list[dict[str, Any]]:
        """Return the conditions of the gate; [] without a gate."""
        return gate_conditions(self.gate)


class WorkloadsSettings(Section):
    """The pipelines of the stack and the models that it starts with."""

    pipelines: dict[Name, PipelineSettings] = Field(default_factory=dict)
    """Pipelines to run, by name."""
    models_from: Annotated[str, StringConstraints(pattern=r"^[\w.-]+(/[\w.-]+/[\w.-]+)?$")] | None = None
    """Stack to copy models from, as its name or `organization/project/name`; see [Moving](migrate.md)."""
    teams: dict[TeamName, TeamSettings] = Field(default_factory=dict)
    """Teams by name. Pipelines and models without a team are shared. Needs `platform:door`, `platform:pipelines:
    job`, and no `platform:network: flannel`."""
    enabled: bool = True
    """Run pipelines and serve models. `false` deploys the services of the platform only, and stops running model
    servers."""
    adopt_champions: bool = False
    """Serve the champions that MLflow has already, as after a [restore](backup.md). The pipelines of these models first
    run after a change of their package, parameters or data."""

    @property
    def pipeline_teams(self) -> dict[str, str]:
        """Return the team of each pipeline that has one."""
        return owners({name: team.pipelines for name, team in self.teams.items()}, "pipelines")

    @property
    def model_teams(self) -> dict[str, str]:
        """Return the team of each registered model that has one."""
        return owners({name: self._models(team) for name, team in self.teams.items()}, "models")

    def _models(self, team: TeamSettings) -> list[str]:
        known = {name: self.pipelines[name] for name in team.pipelines if name in self.pipelines}
        trained = [each.model or name for name, each in known.items() if each.uses_model is None]
        return [*dict.fromkeys([*trained, *team.models])]

    def require_clear_owners(self) -> None:
        """Require that teams own pipelines that exist, each with its model.

        Raises:
            ValueError: a pipeline or model has two owners, or does not exist.
        """
        for name, team in self.pipeline_teams.items():
            if name not in self.pipelines:
                known = ", ".join(self.pipelines) or "none"
                raise ValueError(f"workloads:teams.{team}.pipelines: there is no pipeline {name}; there are: {known}")
        models = self.model_teams
        for name, pipeline in self.pipelines.items():
            team, model = self.pipeline_teams.get(name, ""), pipeline.model or name
            if models.get(model, team) != team:
                raise ValueError(
                    f"workloads:pipelines.{name}.model: the model {model} belongs to the team {models[model]}; add the "
                    "pipeline to this team, or choose another model"
                )
            used = models.get(pipeline.uses_model or "", team)
            if used not in ("", team):
                raise ValueError(
                    f"workloads:pipelines.{name}.uses_model: the model {pipeline.uses_model} belongs to the team "
                    f"{used}; add the pipeline to this team, or share the model"
                )
