"""Stores of MLflow for runs, models and artifacts, as environment variables of its server."""

from __future__ import annotations

from collections.abc import Mapping

import pulumi

from settings.platform import TrackingSettings


def store_variables(
    settings: TrackingSettings, folder: str
) -> tuple[Mapping[str, str], Mapping[str, pulumi.Output[str]]]:
    """Return the environment variables with the addresses of the stores: plain values, then secret values.

    Stores that the settings leave out are a SQLite file and a folder of artifacts below `folder`. `folder` ends with
    a slash, or is "" for the working directory of the server.
    """
    plain = {"MLFLOW_ARTIFACTS_DESTINATION": f"{folder}artifacts"}
    secret: dict[str, pulumi.Output[str]] = {}
    if settings.database_url:
        secret["MLFLOW_BACKEND_STORE_URI"] = pulumi.Output.secret(settings.database_url.get_secret_value())
    else:
        plain["MLFLOW_BACKEND_STORE_URI"] = f"sqlite:///{folder}mlflow.db"
    if store := settings.artifacts:
        plain |= {
            "MLFLOW_ARTIFACTS_DESTINATION": store.url,
            "AWS_ACCESS_KEY_ID": store.access_key,
            "AWS_DEFAULT_REGION": store.region,
            **({"MLFLOW_S3_ENDPOINT_URL": store.endpoint_url} if store.endpoint_url else {}),
        }
        secret["AWS_SECRET_ACCESS_KEY"] = pulumi.Output.secret(store.secret_key.get_secret_value())
    return plain, secret
