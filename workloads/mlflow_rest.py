"""Client of MLflow's REST API for the requests of each `up` and each refresh.

MLflow's own client takes some 3 s of processor time to import, these requests take 0.3 s.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from mlplatform.tracking_access import parse_tracking_access

from workloads.ml.tracking import RUN_KEY_TAG
from workloads.mlflow_session import reachable_url

ALIAS = "champion"
API = "/api/2.0/mlflow"
REQUEST_SECONDS = 30


class MlflowRest:
    """Client for the versions of models and the runs that MLflow has.

    Each method raises `requests.RequestException` if the server does not respond or refuses the request.
    """

    def __init__(self, url: str, login: tuple[str, str] | None) -> None:
        import requests

        self._url = url
        self._session = requests.Session()
        self._session.auth = login

    def set_champion(self, model: str, version: str) -> None:
        """Give an existing version the alias; delete the alias if `version` is empty."""
        alias = {"name": model, "alias": ALIAS}
        if version:
            self._request("POST", "registered-models/alias", json=alias | {"version": version})
        else:
            self._request("DELETE", "registered-models/alias", (404,), json=alias)

    def champion(self, model: str) -> dict[str, Any] | None:
        """Return the version with the alias; None if there is no such model or no alias."""
        parameters = {"name": model, "alias": ALIAS}
        response = self._request("GET", "registered-models/alias", (400, 404), params=parameters)
        return dict(response["model_version"]) if response else None

    def versions(self, model: str) -> list[int]:
        """Return the numbers of all versions, in ascending order."""
        response = self._request("GET", "model-versions/search", params={"filter": f"name='{model}'"})
        return sorted(int(version["version"]) for version in (response or {}).get("model_versions", []))

    def has_version(self, model: str, version: str) -> bool:
        """Return True if the model has the version."""
        parameters = {"name": model, "version": version}
        return self._request("GET", "model-versions/get", (404,), params=parameters) is not None

    def has_run(self, pipeline: str, run_id: str) -> bool:
        """Return True if MLflow has a record of the pipeline run, also if a user deleted the record."""
        found = self._request("GET", "experiments/get-by-name", (404,), params={"experiment_name": pipeline})
        if not found:
            return False
        query = {
            "experiment_ids": [found["experiment"]["experiment_id"]],
            "filter": f"tags.{RUN_KEY_TAG} = '{run_id}'",
            "run_view_type": "ALL",
            "max_results": 1,
        }
        return bool(self._request("POST", "runs/search", json=query).get("runs"))

    def _request(self, method: str, path: str, allowed: tuple[int, ...] = (), **arguments: Any) -> Any:
        response = self._session.request(method, f"{self._url}{API}/{path}", timeout=REQUEST_SECONDS, **arguments)
        if response.status_code in allowed:
            return None
        response.raise_for_status()
        return response.json()


@contextmanager
def mlflow_rest(access: Mapping[str, str]) -> Iterator[MlflowRest]:
    """Yield a client of the server that `access`, an input of a resource, describes.

    Raises:
        UserError: the server runs in a cluster and no pod of it became ready.
    """
    parsed = parse_tracking_access(access)
    with reachable_url(parsed) as url:
        yield MlflowRest(url, parsed.login)
