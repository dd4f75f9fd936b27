"""Notebooks in a cluster: the environment of their servers, which is that of `make notebook`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pulumi
from mlplatform.notebooks.notebooks import Notebooks
from mlplatform.platform import Platform
from mlplatform.team import Team

from settings.services.notebook_settings import NotebookSettings
from workloads.notebook import notebook_variables
from workloads.runs.step_credentials import step_credentials

RUNS = Path("/tmp/pipelines")
"""Folder of a server for packages, runs and logs, which ends with the server."""


def notebook_servers(settings: NotebookSettings, platform: Platform) -> Notebooks:
    """Create the hub, and the environment of servers in the namespace of each team."""
    assert platform.target
    assert platform.notebooks
    teams: Mapping[str, Team | None] = platform.teams or {"": None}
    return Notebooks(
        settings,
        platform.notebooks,
        platform.target.cluster,
        platform.target.registry,
        {name: team.namespace for name, team in platform.teams.items()},
        {name: _variables(platform, team) for name, team in teams.items()},
    )


def _variables(platform: Platform, team: Team | None) -> pulumi.Output[Mapping[str, str]]:
    """Return the environment of servers: what steps of the team's pipelines get, and the presets of notebooks."""
    store: Mapping[str, pulumi.Input[str]] = next((each.access for each in platform.containers(team)), {})

    def variables(known: Mapping[str, Any]) -> dict[str, str]:
        return {**known["credentials"], **notebook_variables(known["url"], known["store"], RUNS)}

    credentials: dict[str, pulumi.Input[Any]] = dict(step_credentials(platform, team))
    known = pulumi.Output.all(
        url=platform.steps_tracking_url, store=pulumi.Output.all(**store), credentials=pulumi.Output.all(**credentials)
    )
    return pulumi.Output.secret(known.apply(variables))
