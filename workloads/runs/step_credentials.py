"""Credentials of the steps of runs."""

from __future__ import annotations

from pathlib import Path

import pulumi
from mlplatform.platform import Platform
from mlplatform.team import Team

from settings.services.s3_settings import DataStoreSettings
from workloads.ml.data.storage import AUTHORITY_VARIABLE, TOKEN_VARIABLE, container_variable


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
    if store := platform.s3_of(team):
        secrets |= {name: pulumi.Output.secret(value) for name, value in s3_variables(store).items()}
    if login := team.logins.writer if team else platform.tracking.writer:
        secrets["MLFLOW_TRACKING_USERNAME"], secrets["MLFLOW_TRACKING_PASSWORD"] = login
    if (monitoring := platform.monitoring) and not team:
        secrets |= {"PROMETHEUS_USERNAME": monitoring.username, "PROMETHEUS_PASSWORD": monitoring.password}
    return secrets


def s3_variables(store: DataStoreSettings) -> dict[str, str]:
    """Return the environment variables that clients of S3 read, such as s3fs, boto3 and pyarrow."""
    address = {"AWS_ENDPOINT_URL": store.endpoint_url} if store.endpoint_url else {}
    authority = {AUTHORITY_VARIABLE: Path(store.ca_file).expanduser().read_text()} if store.ca_file else {}
    return {
        "AWS_ACCESS_KEY_ID": store.access_key,
        "AWS_SECRET_ACCESS_KEY": store.secret_key.get_secret_value(),
        "AWS_DEFAULT_REGION": store.region,
        **address,
        **authority,
    }
