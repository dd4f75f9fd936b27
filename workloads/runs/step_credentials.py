"""Credentials of the steps of runs."""

from __future__ import annotations

import pulumi
from mlplatform.platform import Platform
from mlplatform.team import Team

from workloads.ml.data.storage import TOKEN_VARIABLE, container_variable


def step_credentials(platform: Platform, team: Team | None) -> dict[str, pulumi.Input[str]]:
    """Return the environment variables with the credentials of the steps.

    The general variable has the token of the container that the team's pipelines read by default. Each further
    container has a variable with its name.

    Prometheus has the measurements of all teams, so steps of a team get no login there.
    """
    secrets: dict[str, pulumi.Input[str]] = {}
    if containers := platform.containers(team):
        default, *further = containers
        secrets[TOKEN_VARIABLE] = default.token
        secrets |= {container_variable(each.container): each.token for each in further}
    if login := team.logins.writer if team else platform.tracking.writer:
        secrets["MLFLOW_TRACKING_USERNAME"], secrets["MLFLOW_TRACKING_PASSWORD"] = login
    if (monitoring := platform.monitoring) and not team:
        secrets |= {"PROMETHEUS_USERNAME": monitoring.username, "PROMETHEUS_PASSWORD": monitoring.password}
    return secrets
