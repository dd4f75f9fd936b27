"""Experiments and models of each team in MLflow."""

from __future__ import annotations

from typing import Any

from mlplatform.mlflow_server.teams import SHARED

from settings.workloads import WorkloadsSettings


def owned_by_teams(workloads: WorkloadsSettings) -> dict[str, dict[str, Any]]:
    """Return the experiments and models of each team, and of `*` what has no team; {} without teams.

    The experiment of a pipeline has its name. A model is True if it is served.
    """
    if not workloads.teams:
        return {}
    owned: dict[str, dict[str, Any]] = {name: {"experiments": [], "models": {}} for name in (SHARED, *workloads.teams)}
    teams = workloads.pipeline_teams
    for name, pipeline in workloads.pipelines.items():
        mine = owned[teams.get(name, SHARED)]
        mine["experiments"].append(name)
        if pipeline.uses_model is None:
            mine["models"][pipeline.model or name] = pipeline.serve
    for name, team in workloads.teams.items():
        owned[name]["models"] |= dict.fromkeys(team.models, True)
    return owned
