"""The content of the start page, from MLflow, Prometheus and the model servers."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import requests
from mlplatform.start_page.prometheus_api import PrometheusError, prometheus_api
from mlplatform.start_page.release_comparison import ReleaseComparison, compare_releases

TIMEOUT_SECONDS = 5
CHAMPION = "champion"
SHARED = "*"
METRICS = ("accuracy", "rmse")
"""Tags of a model version with its main metric."""
SHOWN_RUNS = 10
DRIFTED = 0.2
"""Population stability index (PSI) above which a feature has drifted."""
Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Caller:
    """A person, the role of the person, and the key with which MLflow believes both.

    `teams` is the text of the door: teams separated by commas, `*` for what is shared, or "" without teams.
    """

    user: str
    role: str
    key: str
    teams: str = ""

    @property
    def headers(self) -> dict[str, str]:
        """Return the headers of a request to MLflow in the name of the person."""
        teams = {"X-Door-Teams": self.teams} if self.teams else {}
        return {"X-Door-User": self.user, "X-Door-Role": self.role, "X-Door-Key": self.key, **teams}

    @property
    def team_names(self) -> list[str]:
        """Return the names of the person's teams."""
        return [team for team in self.teams.split(",") if team not in ("", SHARED)]

    def sees(self, model: Mapping[str, str]) -> bool:
        """Return True unless the model is one of another team."""
        owner = model["team"]
        return not owner or self.role == "administrator" or owner in self.team_names or model["visibility"] == "public"


@dataclass(frozen=True)
class ModelRow:
    """A served model: the texts of its row."""

    name: str
    version: str
    metric: str
    healthy: bool
    visibility: str
    drift: str
    drifted: bool


@dataclass(frozen=True)
class RunRow:
    """A run: the texts of its row."""

    name: str
    experiment: str
    path: str
    state: str
    started: str
    duration: str


@dataclass(frozen=True)
class CanaryTable:
    """A canary beside the champion; `comparison` is None without measurements."""

    model: str
    state: str
    comparison: ReleaseComparison | None


@dataclass
class Overview:
    """Models, runs and faults: services that did not respond. `canary` is None if the person sees none."""

    models: list[ModelRow] = field(default_factory=list)
    canary: CanaryTable | None = None
    runs: list[RunRow] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, settings: Settings, caller: Caller) -> Overview:
        """Read the services at the same time; a service that does not respond leaves its fields empty."""
        overview = cls()
        with ThreadPoolExecutor() as pool:
            drift = pool.submit(overview._read, "monitoring", {}, _drift, settings)
            canary = pool.submit(overview._canary, settings, caller)
            runs = pool.submit(overview._read, "MLflow", [], _runs, settings, caller)
            names = sorted(name for name, model in settings["models"].items() if caller.sees(model))
            versions = pool.map(lambda name: overview._read("MLflow", None, _champion, settings, caller, name), names)
            healthy = pool.map(lambda name: _is_healthy(settings["models"][name]["url"]), names)
            overview.models = [
                _model_row(name, version, is_healthy, settings["models"][name]["visibility"], drift.result())
                for name, version, is_healthy in zip(names, versions, healthy, strict=True)
            ]
            overview.runs, overview.canary = runs.result(), canary.result()
        return overview

    def _canary(self, settings: Settings, caller: Caller) -> CanaryTable | None:
        trial = settings.get("canary")
        if trial is None or not caller.sees(settings["models"][trial["model"]]):
            return None
        comparison = self._read("monitoring", None, _comparison, settings, trial)
        return CanaryTable(trial["model"], trial["trial"], comparison)

    def _read(self, service: str, default: Any, read: Any, *arguments: Any) -> Any:
        try:
            return read(*arguments)
        except (requests.RequestException, PrometheusError, ValueError, KeyError):
            fault = f"{service} does not respond."
            if fault not in self.faults:
                self.faults.append(fault)
            return default


def _mlflow(settings: Settings, caller: Caller, method: str, path: str, **content: Any) -> Any:
    url = f"{settings['mlflow']}/api/2.0/mlflow/{path}"
    response = requests.request(method, url, headers=caller.headers, timeout=TIMEOUT_SECONDS, **content)
    if response.status_code == 404:
        return {}
    response.raise_for_status()
    return response.json()


def _champion(settings: Settings, caller: Caller, model: str) -> Any:
    """Return the version of the model with the alias, None without one."""
    query = {"name": model, "alias": CHAMPION}
    try:
        return _mlflow(settings, caller, "GET", "registered-models/alias", params=query).get("model_version")
    except requests.HTTPError as error:
        if error.response.status_code in (400, 403):  # no alias, or no model
            return None
        raise


def _is_healthy(url: str) -> bool:
    try:
        return requests.get(f"{url}/v2/health/ready", timeout=TIMEOUT_SECONDS).ok
    except requests.RequestException:
        return False


def _drift(settings: Settings) -> dict[str, tuple[str, float]]:
    """Return the feature with the highest drift, and its PSI, by model."""
    if not settings["prometheus"]:
        return {}
    samples = prometheus_api(**settings["prometheus"]).query("topk by (model) (1, feature:model_input_psi:1h)")
    return {labels["model"]: (labels["feature"], index) for labels, index in samples}


def _comparison(settings: Settings, trial: Mapping[str, Any]) -> ReleaseComparison:
    """Return the measurements since the beginning of a canary's trial."""
    seconds = max(60, int(time.time() - trial["started"]))
    return compare_releases(prometheus_api(**settings["prometheus"]), trial["service"], trial["version"], seconds)


def _model_row(
    name: str, version: Any, healthy: bool, visibility: str, drift: Mapping[str, tuple[str, float]]
) -> ModelRow:
    tags = {each["key"]: each["value"] for each in (version or {}).get("tags", [])}
    metric = ", ".join(f"{metric} {float(tags[metric]):.3f}" for metric in METRICS if metric in tags)
    feature, index = drift.get(name, ("", 0.0))
    return ModelRow(
        name=name,
        version=version["version"] if version else "",
        metric=metric,
        healthy=healthy,
        visibility=visibility,
        drift=f"{index:.2f} ({feature})" if feature else "",
        drifted=index > DRIFTED,
    )


def _runs(settings: Settings, caller: Caller) -> list[RunRow]:
    """Return the newest runs that the person may see."""
    found = _mlflow(settings, caller, "GET", "experiments/search", params={"max_results": 100}).get("experiments", [])
    experiments = {each["experiment_id"]: each["name"] for each in found}
    if not experiments:
        return []
    query = {
        "experiment_ids": list(experiments),
        "order_by": ["attributes.start_time DESC"],
        "max_results": SHOWN_RUNS,
    }
    runs = _mlflow(settings, caller, "POST", "runs/search", json=query).get("runs", [])
    return [_run_row(each["info"], experiments) for each in runs]


def _run_row(info: Mapping[str, Any], experiments: Mapping[str, str]) -> RunRow:
    started = datetime.fromtimestamp(int(info["start_time"]) / 1000, UTC)
    seconds = (int(info["end_time"]) - int(info["start_time"])) // 1000 if info.get("end_time") else None
    return RunRow(
        name=info.get("run_name") or info["run_id"],
        experiment=experiments[info["experiment_id"]],
        path=f"/mlflow/#/experiments/{info['experiment_id']}/runs/{info['run_id']}",
        state=info["status"].lower(),
        started=f"{started:%Y-%m-%d %H:%M} UTC",
        duration="" if seconds is None else str(timedelta(seconds=seconds)),
    )
