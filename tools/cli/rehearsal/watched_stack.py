"""Requests to the services of a stack with a cluster, to measure how long each is away."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from infra.errors import UserError
from infra.kubernetes_client.client import KubernetesClient
from tools.bootstrap.paths import PROJECT
from tools.cli.cluster_access import CLUSTER_DOMAIN
from tools.cli.rehearsal.availability import Outage

REQUEST_SECONDS = 2
LOAD = "tools.cli.rehearsal.prediction_load"
CLIENT = (5, 10, 0)
"""Seconds of a client of predictions until it gives up a connection and a response, and of its pause before it tries
once more."""
LONGEST_SECONDS = 24 * 3600
"""Duration of a load that nothing ends."""
REPORT_SECONDS = 60


@dataclass
class PredictionLoad:
    """Requests of another process to a model; `report` is complete when the load has ended."""

    report: dict[str, Any] = field(default_factory=dict)

    @property
    def failures(self) -> list[float]:
        """Return the times of the requests that failed twice, in seconds since 1970."""
        return list(self.report["failures"])

    @property
    def outages(self) -> list[Outage]:
        """Return the times without an answer."""
        return [(begin, end) for begin, end in self.report["outages"]]


@contextmanager
def loaded(score_url: str, row: object, result: str, rate: float) -> Iterator[PredictionLoad]:
    """Send predictions of a row while the block runs.

    Args:
        score_url: address for predictions.
        row: a row that the model accepts.
        result: a field of the response.
        rate: requests a second.
    """
    request = (score_url, json.dumps(row), result)
    figures = map(str, (rate, LONGEST_SECONDS, *CLIENT))
    load = PredictionLoad()
    with subprocess.Popen(
        [sys.executable, "-m", LOAD, *request, *figures], cwd=PROJECT, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield load
            process.send_signal(signal.SIGTERM)
            output, _ = process.communicate(timeout=REPORT_SECONDS)
        finally:
            process.kill()
    load.report = json.loads(output)


def example_prediction(score_url: str) -> tuple[object, str]:
    """Return the example row of a model's OpenAPI document, and a field of the response to it.

    Raises:
        UserError: the model does not respond.
    """
    import requests

    url = score_url.removesuffix("/score")
    try:
        # The door's certificate is that of the stack's authority.
        document = requests.get(f"{url}/openapi.json", verify=False, timeout=REPORT_SECONDS)
        content = document.json()["paths"]["/score"]["post"]["requestBody"]["content"]
        row = content["application/json"]["example"]
        answer = requests.post(score_url, json=row, verify=False, timeout=REPORT_SECONDS)
        answer.raise_for_status()
        return row, next(iter(answer.json()))
    except (requests.RequestException, ValueError, KeyError) as error:
        raise UserError(f"{score_url} does not predict before the update: {error}") from None


def service_requests(outputs: Mapping[str, Any]) -> dict[str, Callable[[], object]]:
    """Return a request for each service with an address outside the cluster, by the name of the service.

    Args:
        outputs: the stack's outputs with decrypted secrets.
    """
    import requests

    core = KubernetesClient(outputs["kubeconfig"]).core
    found: dict[str, Callable[[], object]] = {
        "API server": lambda: core.read_namespace("default", _request_timeout=REQUEST_SECONDS)
    }
    if "door_url" in outputs:

        def open_door() -> None:
            # The certificate is that of the stack's authority, and this request sends nothing secret.
            answer = requests.get(outputs["door_url"], verify=False, timeout=REQUEST_SECONDS)
            if answer.status_code >= 500:
                answer.raise_for_status()

        found["door"] = open_door
    url = str(outputs["tracking_url"])
    if CLUSTER_DOMAIN not in url and "tracking_login" in outputs:
        login = (outputs["tracking_login"]["username"], outputs["tracking_login"]["password"])

        def search() -> None:
            path = f"{url}/api/2.0/mlflow/experiments/search?max_results=1"
            requests.get(path, auth=login, timeout=REQUEST_SECONDS).raise_for_status()

        found["MLflow"] = search
    return found
