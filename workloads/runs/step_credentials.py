"""Credentials of the steps of runs."""

from __future__ import annotations

import pulumi
from mlplatform.platform import Platform
from mlplatform.team import Team


def step_credentials(platform: Platform, team: Team | None) -> dict[str, pulumi.Input[str]]:
    """Return the environment variables with the credentials of the steps.

    Prometheus has the measurements of all teams, so steps of a team get no login there.
    """
    secrets: dict[str, pulumi.Input[str]] = {}
    if blobs := platform.blobs:
        secrets["AZURE_STORAGE_SAS_TOKEN"] = blobs.token
    if login := team.logins.writer if team else platform.tracking.writer:
        secrets["MLFLOW_TRACKING_USERNAME"], secrets["MLFLOW_TRACKING_PASSWORD"] = login
    if (monitoring := platform.monitoring) and not team:
        secrets |= {"PROMETHEUS_USERNAME": monitoring.username, "PROMETHEUS_PASSWORD": monitoring.password}
    return secrets
