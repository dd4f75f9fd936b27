"""Fingerprint of a stack's runs, model versions and predictions, to compare a restored stack with its original."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from mlplatform.tracking_access import parse_tracking_access

from infra.errors import UserError
from infra.kubernetes_client.port_forward import PodTarget, port_forward
from tools.cli.backup.contents.container_copy import container_digests
from tools.cli.backup.contents.kubeflow_data import KubeflowData
from tools.cli.backup.errors import BackupError
from tools.cli.cluster_access import CLUSTER_DOMAIN
from workloads.mlflow_session import mlflow_session
from workloads.model_transfer.model_transfer import ACCESS
from workloads.model_transfer.transfer import all_pages
from workloads.serving.pod_template import CONTAINER_PORT

FACTORS = (0, 0.25, 0.5, 1, 1.5, 2)
"""Factors of the numbers in the requests, so that they reach different leaves of a forest."""
PIPELINE_RUNS = "runs in Kubeflow Pipelines"
KINDS = ("runs", "versions", "predictions", "blobs", PIPELINE_RUNS)
REQUEST_SECONDS = 60


def take_fingerprint(
    outputs: Mapping[str, Any], logins: Mapping[str, Mapping[str, str]], kubeflow: KubeflowData | None
) -> dict[str, Any]:
    """Return the fingerprint of a running stack.

    Args:
        outputs: the stack's outputs with decrypted secrets.
        logins: the logins to the containers of the stack's data by team; "" is the shared container.
        kubeflow: the data of Kubeflow Pipelines, None for a stack without it.

    Returns:
        `runs` and `versions`: digests of the records in MLflow by run id and by `model/version`.
        `predictions`: request and response by model; the responses are texts as the server sent them.
        `blobs`: digests of the contents of the containers by name, which begins with the team for containers of teams.
        `runs in Kubeflow Pipelines`: digests of their records by run id; only with Kubeflow Pipelines.

    Raises:
        BackupError: MLflow or a model server does not respond.
    """
    import requests
    from mlflow.exceptions import MlflowException

    try:
        pipeline_runs = {PIPELINE_RUNS: kubeflow.runs()} if kubeflow else {}
        return _read(outputs) | {"blobs": _blobs(logins)} | pipeline_runs
    except (UserError, MlflowException, requests.RequestException) as error:
        raise BackupError(f"the stack has to be up, and it does not respond as expected: {error}") from None


def _blobs(logins: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    return {
        f"team {team}: {name}" if team else name: digest
        for team, login in logins.items()
        for name, digest in container_digests(login).items()
    }


def _read(outputs: Mapping[str, Any]) -> dict[str, Any]:
    from workloads.ml import tracking

    with mlflow_session(parse_tracking_access(outputs[ACCESS])) as url:
        client = tracking.client(url)
        runs = dict(_runs(client))
        versions = dict(_versions(client))
    predictions = {}
    for name, score_url in score_urls(outputs).items():
        with _reachable(score_url, outputs) as url:
            predictions[name] = _predict(url)
    return {"runs": runs, "versions": versions, "predictions": predictions}


def unchanged_records(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """Return what two fingerprints have in common.

    A run may end while its data are copied. Records that are equal before and after a copy are in the copy.
    """
    return {
        kind: {name: value for name, value in after[kind].items() if before[kind].get(name) == value} for kind in after
    }


def differences(original: Mapping[str, Any], restored: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each record or prediction of the original that the restored stack lacks or has differently.

    What the restored stack has beyond them is no difference.
    """
    for kind in KINDS:
        found = restored.get(kind, {})
        for name, value in original.get(kind, {}).items():
            if name not in found:
                yield f"{kind}: {name} is missing"
            elif found[name] != value:
                yield f"{kind}: {name} differs"


def score_urls(outputs: Mapping[str, Any]) -> dict[str, str]:
    """Return the address for predictions of each served model."""
    services = [value for name, value in outputs.items() if name.endswith("_service") and isinstance(value, dict)]
    if "model" in outputs:
        services.append({"model": outputs["model"], "score_url": outputs["score_url"]})
    return {each["model"]["name"]: each["score_url"] for each in services if each["model"].get("version")}


@contextmanager
def _reachable(score_url: str, outputs: Mapping[str, Any]) -> Iterator[str]:
    """Yield the address of a model, by a port-forward if only its cluster reaches it."""
    model_url = score_url.removesuffix("/score")
    address = urlsplit(model_url)
    host = str(address.hostname)
    if not host.endswith(CLUSTER_DOMAIN):
        yield model_url
        return
    name, namespace = host.removesuffix(CLUSTER_DOMAIN).split(".")
    selector = f"app.kubernetes.io/name={name}"
    with port_forward(PodTarget(outputs["kubeconfig"], namespace, selector, CONTAINER_PORT)) as url:
        yield f"{url}{address.path}"


def _predict(url: str) -> dict[str, Any]:
    """Send variations of the example in the server's OpenAPI document, and return request and response."""
    import requests

    document = requests.get(f"{url}/openapi.json", timeout=REQUEST_SECONDS)
    document.raise_for_status()
    content = document.json()["paths"]["/score"]["post"]["requestBody"]["content"]
    example = content["application/json"]["example"]
    rows = [{name: _scaled(value, factor) for name, value in example.items()} for factor in FACTORS]
    response = requests.post(f"{url}/score", json=rows, timeout=REQUEST_SECONDS)
    response.raise_for_status()
    return {"request": rows, "response": response.text}


def _scaled(value: Any, factor: float) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    return type(value)(value * factor)


def _runs(client: Any) -> Iterator[tuple[str, str]]:
    from mlflow.entities import ViewType

    experiments = {
        each.experiment_id: each.name for each in all_pages(partial(client.search_experiments, ViewType.ALL))
    }
    ids = list(experiments)
    for run in all_pages(partial(client.search_runs, ids, "", ViewType.ALL, 1000)) if ids else ():
        info, data = run.info, run.data
        record = [
            *(experiments[info.experiment_id], info.run_name, info.status, info.lifecycle_stage),
            *(info.start_time, info.end_time, info.artifact_uri, data.params, data.metrics, data.tags),
        ]
        yield info.run_id, _digest(record)


def _versions(client: Any) -> Iterator[tuple[str, str]]:
    for model in all_pages(client.search_registered_models):
        for version in all_pages(partial(client.search_model_versions, f"name = '{model.name}'")):
            aliases = sorted(alias for alias, number in model.aliases.items() if str(number) == str(version.version))
            record = [version.source, version.run_id, version.status, version.tags, version.description, aliases]
            yield f"{model.name}/{version.version}", _digest(record)


def _digest(record: list[Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
