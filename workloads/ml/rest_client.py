"""Client of MLflow's REST API, for programs that must start quickly.

MLflow's own client takes some 3 s of processor time to import, these requests take 0.3 s.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlsplit

from workloads.ml.champion_history import CANARY_PREFIX, ChampionChange, change_to
from workloads.ml.tracking import RUN_KEY_TAG

ALIAS = "champion"
API = "/api/2.0/mlflow"
ARTIFACTS_API = "/api/2.0/mlflow-artifacts/artifacts"
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

    def set_champion(self, model: str, version: str, reason: str, author: str) -> None:
        """Give an existing version the alias and record the change; delete the alias if `version` is empty."""
        alias = {"name": model, "alias": ALIAS}
        if version:
            self._request("POST", "registered-models/alias", json=alias | {"version": version})
        else:
            self._request("DELETE", "registered-models/alias", (404,), json=alias)
        if change := change_to(self.model_tags(model), version, reason, author):
            self._tag_model(model, *change.tag())

    def record_lost_canary(self, model: str, version: str, reason: str, author: str) -> None:
        """Record that a canary was taken back; the champion stays."""
        self._tag_model(model, *ChampionChange(datetime.now(UTC), version, reason, author).tag(CANARY_PREFIX))

    def tag_version(self, model: str, version: str, key: str, value: str) -> None:
        """Set a tag of a version."""
        tag = {"name": model, "version": version, "key": key, "value": value}
        self._request("POST", "model-versions/set-tag", json=tag)

    def models(self) -> list[str]:
        """Return the names of all registered models, in ascending order."""
        names: list[str] = []
        page = ""
        while True:
            found = self._request("GET", "registered-models/search", params={"page_token": page} if page else {})
            names += [each["name"] for each in found.get("registered_models", [])]
            if not (page := found.get("next_page_token", "")):
                return sorted(names)

    def model_tags(self, model: str) -> dict[str, str]:
        """Return the tags of a registered model; {} if there is no such model."""
        return {tag["key"]: tag["value"] for each in self._find_model(model) for tag in each.get("tags", [])}

    def champion(self, model: str) -> dict[str, Any] | None:
        """Return the version with the alias; None if there is no such model or no alias."""
        aliases = [alias for each in self._find_model(model) for alias in each.get("aliases", [])]
        versions = [alias["version"] for alias in aliases if alias["alias"] == ALIAS]
        return self.version(model, versions[0]) if versions else None

    def versions(self, model: str) -> list[int]:
        """Return the numbers of all versions, in ascending order."""
        response = self._request("GET", "model-versions/search", params={"filter": f"name='{model}'"})
        return sorted(int(version["version"]) for version in (response or {}).get("model_versions", []))

    def version(self, model: str, version: str) -> dict[str, Any] | None:
        """Return a version of a model, None if the model has no such version."""
        parameters = {"name": model, "version": version}
        response = self._request("GET", "model-versions/get", (404,), params=parameters)
        return dict(response["model_version"]) if response else None

    def has_version(self, model: str, version: str) -> bool:
        """Return True if the model has the version."""
        return self.version(model, version) is not None

    def has_run(self, pipeline: str, run_key: str) -> bool:
        """Return True if MLflow has a record of the pipeline run, also if a user deleted the record."""
        return self._find_run(pipeline, run_key) is not None

    def metrics(self, version: Mapping[str, Any], pipeline: str, run_key: str) -> dict[str, float]:
        """Return the metrics of a version: of the pipeline run that deployed it, then of the run that registered it.

        These runs differ if a pipeline trains a model again that is registered already.
        """
        runs = [self.run_of(version), self._find_run(pipeline, run_key)]
        logged = [each for run in runs if run for each in run["data"].get("metrics", [])]
        return {each["key"]: float(each["value"]) for each in logged}

    def run_of(self, version: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the run that registered a version, None if MLflow has none."""
        if not version.get("run_id"):
            return None
        found = self._request("GET", "runs/get", (404,), params={"run_id": version["run_id"]})
        return dict(found["run"]) if found else None

    def download(self, source: str, file: str) -> bytes:
        """Return a file of a version whose artifacts the server itself stores.

        Args:
            source: The version's address of its files, such as `mlflow-artifacts:/1/ab/artifacts/model`.
            file: The name of the file.
        """
        path = f"{urlsplit(source).path.strip('/')}/{file}"
        response = self._session.get(f"{self._url}{ARTIFACTS_API}/{quote(path)}", timeout=REQUEST_SECONDS)
        response.raise_for_status()
        return response.content

    def _tag_model(self, model: str, key: str, value: str) -> None:
        self._request("POST", "registered-models/set-tag", json={"name": model, "key": key, "value": value})

    def _find_model(self, model: str) -> list[dict[str, Any]]:
        """Return the registered model in a list, [] if it does not exist.

        The model is searched for, because MLflow denies its other users any other request for a model that is missing.
        """
        found = self._request("GET", "registered-models/search", params={"filter": f"name='{model}'"})
        return list(found.get("registered_models", []))

    def _find_run(self, pipeline: str, run_key: str) -> dict[str, Any] | None:
        found = self._request("GET", "experiments/get-by-name", (404,), params={"experiment_name": pipeline})
        if not found:
            return None
        query = {
            "experiment_ids": [found["experiment"]["experiment_id"]],
            "filter": f"tags.{RUN_KEY_TAG} = '{run_key}'",
            "run_view_type": "ALL",
            "max_results": 1,
        }
        runs = self._request("POST", "runs/search", json=query).get("runs")
        return dict(runs[0]) if runs else None

    def _request(self, method: str, path: str, allowed: tuple[int, ...] = (), **arguments: Any) -> Any:
        response = self._session.request(method, f"{self._url}{API}/{path}", timeout=REQUEST_SECONDS, **arguments)
        if response.status_code in allowed:
            return None
        response.raise_for_status()
        return response.json()
