"""Stores of MLflow for runs, models and artifacts: environment variables of its server, and its network rules."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

import pulumi
from mlplatform.k8s.namespace import ANY_ADDRESS, DNS, Rule, tcp_ports
from mlplatform.stores.replicated_stores import ReplicatedStores

from settings.platform import TrackingSettings

POSTGRESQL_PORT = 5432
DEFAULT_PORTS = {"http": 80, "https": 443}
AMAZON = "https://s3.amazonaws.com"
REPLICATED_ARTIFACTS = "s3://mlflow/artifacts"


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
            "AWS_DEFAULT_REGION": store.region,
            **({"MLFLOW_S3_ENDPOINT_URL": store.endpoint_url} if store.endpoint_url else {}),
        }
        secret["AWS_ACCESS_KEY_ID"] = pulumi.Output.secret(store.access_key)
        secret["AWS_SECRET_ACCESS_KEY"] = pulumi.Output.secret(store.secret_key.get_secret_value())
    return plain, secret


def replicated_variables(
    stores: ReplicatedStores,
) -> tuple[Mapping[str, pulumi.Input[str]], Mapping[str, pulumi.Output[str]]]:
    """Return the environment variables with the addresses of replicated stores, as `store_variables` does."""
    plain: dict[str, pulumi.Input[str]] = {
        "MLFLOW_ARTIFACTS_DESTINATION": REPLICATED_ARTIFACTS,
        "MLFLOW_S3_ENDPOINT_URL": stores.objects.endpoint_url,
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    return plain, {
        "MLFLOW_BACKEND_STORE_URI": stores.database.url("mlflow"),
        "AWS_ACCESS_KEY_ID": pulumi.Output.secret(stores.objects.access_key),
        "AWS_SECRET_ACCESS_KEY": stores.objects.secret_key,
    }


def store_egress(settings: TrackingSettings) -> list[Rule]:
    """Return the egress rules of the server: name servers and the stores of the settings; [] without such stores.

    A policy cannot name a host. A store with a host name opens its port to all pods and to all addresses except the
    metadata services of clouds.
    """
    rules = []
    if settings.database_url:
        rules.append(_rule(settings.database_url.get_secret_value(), POSTGRESQL_PORT))
    if store := settings.artifacts:
        url = store.endpoint_url or AMAZON
        rules.append(_rule(url, DEFAULT_PORTS[urlsplit(url).scheme]))
    return [DNS, *rules] if rules else []


def _rule(url: str, default_port: int) -> Rule:
    parts = urlsplit(url)
    ports = tcp_ports(parts.port or default_port)
    try:
        address = ipaddress.ip_network(parts.hostname or "")
    except ValueError:
        # Some networks do not apply rules with addresses to pods.
        return {"to": [*ANY_ADDRESS["to"], {"namespaceSelector": {}}], **ports}
    return {"to": [{"ipBlock": {"cidr": str(address)}}], **ports}
