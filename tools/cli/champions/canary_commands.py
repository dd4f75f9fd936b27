"""`make canary`: the measurements of a canary beside those of the champion, and what the next `up` does with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import requests
from mlplatform.monitoring.canary_trial import TESTING, CanaryDecision, decide, measured_comparison
from mlplatform.start_page.prometheus_api import PrometheusError
from mlplatform.start_page.release_comparison import ReleaseComparison

from infra.errors import UserError
from settings.serving import CanaryPromotionSettings
from tools.cli.backup.stack_state import stack_settings
from tools.cli.cluster_access import AccessError, secret_outputs
from tools.cli.pulumi_command import Pulumi
from tools.cli.summary import wrapped
from workloads.mlflow_rest import mlflow_rest
from workloads.model_transfer.model_transfer import ACCESS
from workloads.serving.canary_promotion import CANARY_TAG

NEXT = {
    TESTING: "the trial goes on",
    "promoted": "the canary becomes the champion if it passes the gate",
    "taken back": "the canary is taken back",
}
"""Sentences on the action of `up`, by decision."""


def canary(pulumi: Pulumi, _arguments: list[str]) -> int:
    """Print the comparison of the canary with the champion, and keep it as a tag of the canary's version in MLflow.

    Raises:
        AccessError: the stack has no measured canary, or Prometheus or MLflow does not respond.
    """
    outputs = secret_outputs(pulumi)
    trial = outputs.get("canary")
    if trial is None:
        raise AccessError(
            f"the stack {pulumi.stack} measures no canary: set serving:canary and platform:monitoring, then `make up`"
        )
    found = _measured(trial, outputs)
    for line in wrapped(_lines(trial, found)):
        print(line)
    if trial["trial"] == TESTING:
        _keep(trial, found, outputs)
    return 0


def planned_trial(pulumi: Pulumi) -> Iterator[str]:
    """Yield what the next `up` does with the canary of the settings, for a preview."""
    settings = stack_settings(pulumi).serving.canary
    outputs = secret_outputs(pulumi)
    trial = outputs.get("canary")
    if settings is None or settings.promote is None:
        return
    promote = settings.promote.model_dump(by_alias=True, exclude_none=True)
    if trial is None or (trial["version"], trial["promote"]) != (str(settings.version), promote):
        yield f"version {settings.version} begins its trial of {settings.promote.after}"
        return
    try:
        decision = _decision(trial, _measured(trial, outputs))
    except AccessError as error:
        yield f"version {settings.version}: the trial goes on, because nothing can be decided: {error}"
        return
    yield f"version {settings.version}: {NEXT[decision.state]}: {decision.reason}"


def _measured(trial: Mapping[str, Any], outputs: Mapping[str, Any]) -> ReleaseComparison:
    access = {"kubeconfig": outputs["kubeconfig"], "login": outputs["monitoring_login"]}
    try:
        return measured_comparison({**trial, **access})
    except (PrometheusError, UserError) as error:
        raise AccessError(f"Prometheus does not respond: {error}") from None


def _decision(trial: Mapping[str, Any], found: ReleaseComparison) -> CanaryDecision:
    if trial["trial"] != TESTING:
        return CanaryDecision(trial["trial"], trial["reason"])
    return decide(CanaryPromotionSettings.model_validate(trial["promote"]), found)


def _lines(trial: Mapping[str, Any], found: ReleaseComparison) -> Iterator[str]:
    started = datetime.fromtimestamp(trial["started"], UTC)
    yield f"Canary of {trial['model']}, measured since {started:%Y-%m-%d %H:%M} UTC"
    rows = [("", "champion", "canary"), *found.rows()]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    for name, champion, measured in rows:
        yield f"  {name:<{widths[0]}}  {champion:<{widths[1]}}  {measured}"
    if trial["promote"]:
        decision = _decision(trial, found)
        step = "With the next `make up`" if trial["trial"] == TESTING else "Decided"
        yield f"{step}: {NEXT[decision.state]}: {decision.reason}"


def _keep(trial: Mapping[str, Any], found: ReleaseComparison, outputs: Mapping[str, Any]) -> None:
    """Keep the measurements as the tag `canary` of the version, where MLflow shows them."""
    access = {**outputs[ACCESS], **outputs.get("tracking_login", {})}
    try:
        with mlflow_rest(access) as registry:
            registry.tag_version(trial["model"], trial["version"], CANARY_TAG, f"{trial['trial']}: {found.text()}")
    except (requests.RequestException, UserError) as error:
        raise AccessError(f"MLflow keeps no measurements: {error}") from None
