"""Champion of a registered model: the version that is served."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi
from mlplatform.tracking_access import TrackingAccess, parse_tracking_access
from pulumi.dynamic import CreateResult, DiffResult, ReadResult, Resource, UpdateResult

from infra.dynamic_provider import DynamicProvider, UserError, any_changed
from infra.local.computer_user import computer_user
from settings.metrics import BETTER, MAIN_METRICS
from workloads.ml.evaluation.verdict import CHAMPION_PREFIX, MissingMetricError, Verdict, judge
from workloads.ml.rest_client import ALIAS, MlflowRest
from workloads.mlflow_rest import mlflow_rest
from workloads.serving.canary_promotion import record_trial, standing_promotion
from workloads.serving.model_check import refusal

OUTPUTS = ("version", "sha256", "accuracy", "metrics")
"""Outputs that are properties of the champion."""


class _ChampionProvider(DynamicProvider):
    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        moved = bool(_news["pinned"]) and _olds["version"] not in (_news["pinned"], _olds.get("promoted"))
        # A refresh uses the access of the last update: with an old password it would never read the registry again.
        changed = any_changed(_olds, _news, ("access", "model", "pinned", "deployed", "run_id", "gate"))
        # A state of before has no trial.
        changed |= (_olds.get("canary") or {}) != _news.get("canary", {})
        # The alias is missing after the registry was replaced, or after a user deleted the alias.
        wanted = _news["pinned"] or _news["deployed"]
        alias_lost = not _olds["version"] and bool(wanted) and _olds.get("rejected") != wanted
        return DiffResult(changes=moved or changed or alias_lost)

    def create(self, props: dict[str, Any]) -> CreateResult:
        return CreateResult(props["model"], props | _set_champion(props, previous=""))

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        """Set the champion of what changed; other changes leave the version that a scheduled run or a user chose."""
        if _keeps_champion(_olds, _news):
            return UpdateResult(_news | _record_trial_only(_news, _olds))
        previous = _olds["version"] if _olds["model"] == _news["model"] else ""
        # An `up` that was interrupted before it set the champion may have left the version of its run with the alias.
        if previous and previous == _news["deployed"]:
            previous = _olds.get("accepted", previous)
        return UpdateResult(_news | _set_champion(_news, previous, _olds))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """Return the current champion of the registry; an unavailable registry leaves the last known one."""
        import requests

        try:
            with mlflow_rest(props["access"]) as registry:
                champion = registry.champion(props["model"])
        except (requests.RequestException, UserError) as error:
            pulumi.log.warn(f"{props['model']}: the refresh skipped the model registry: {error}")
            return ReadResult(id_, props)
        return ReadResult(id_, props | _outputs(props["model"], champion))


class Champion(Resource, module="workloads", name="Champion"):
    """Version of a registered model with the alias `champion`.

    Args:
        access: access to the model registry, an MLflow server, from this computer.
        deployed: the version that the last run of the pipeline deployed; "" leaves the champion as it is.
        run_id: the id of that run; a new run updates the champion.
        pinned: the version from the settings, which overrides `deployed` and the gate; "" for none.
        setting: the setting of `pinned`, for errors.
        pipeline: the pipeline of that run.
        gate: the conditions that a deployed version has to meet.
        canary: version, state and reason of a canary's trial, which a promotion makes the champion; {} without one.

    Outputs:
        version, sha256, accuracy: properties of the champion; "" / "" / 0 without a champion. A regression has the
            accuracy 0.
        metrics: the main metric of the champion by its name; {} without a champion.
        decision: one sentence on the last deployed version; "" before the first.
        rejected: the last deployed version if the gate rejected it, else "".
        promoted: the version that a trial promoted, until a new run deploys another one; else "".
        accepted: the champion after the last update. A refresh changes `version` alone.

    Raises (as a failed resource):
        UserError: the registry has no such version or does not respond, the version lacks a metric of the gate, or the
            model server refuses the version.
    """

    version: pulumi.Output[str]
    sha256: pulumi.Output[str]
    accuracy: pulumi.Output[float]
    metrics: pulumi.Output[dict[str, float]]
    decision: pulumi.Output[str]
    rejected: pulumi.Output[str]
    promoted: pulumi.Output[str]
    accepted: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        *,
        access: TrackingAccess[pulumi.Input[str]],
        model: str,
        deployed: pulumi.Input[str],
        run_id: pulumi.Input[str],
        pinned: str,
        setting: str,
        pipeline: str,
        gate: Sequence[Mapping[str, Any]],
        canary: Mapping[str, pulumi.Input[str]],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        props = {
            "access": access.inputs(),
            "model": model,
            "deployed": deployed,
            "run_id": run_id,
            "pinned": pinned,
            "setting": setting,
            "pipeline": pipeline,
            "gate": [dict(condition) for condition in gate],
            "canary": canary,
            **dict.fromkeys((*OUTPUTS, "decision", "rejected", "promoted", "accepted")),
        }
        super().__init__(_ChampionProvider(), name, props, opts)


def _keeps_champion(olds: Mapping[str, Any], news: Mapping[str, Any]) -> bool:
    """Return True if nothing that decides on the champion changed, and there is one."""
    if not olds["version"] or news["pinned"] or any_changed(olds, news, ("model", "deployed", "run_id", "pinned")):
        return False
    unmoved = olds["version"] == olds.get("accepted", olds["version"])
    if unmoved and olds.get("rejected") and any_changed(olds, news, ("gate",)):
        return False  # the rejected version may pass now
    return standing_promotion(news, olds).version == (olds.get("promoted") or "")


def _record_trial_only(props: dict[str, Any], olds: Mapping[str, Any]) -> dict[str, Any]:
    """Record the end of a trial, and return the outputs of the champion as it is."""
    import requests

    try:
        with mlflow_rest(props["access"]) as registry:
            record_trial(registry, props["model"], props, olds, computer_user())
            champion = _outputs(props["model"], registry.champion(props["model"]))
    except requests.RequestException as error:
        raise _unusable(props, error) from None
    kept = {name: olds.get(name) or "" for name in ("decision", "rejected", "promoted")}
    return champion | kept | {"accepted": champion["version"]}


def _unusable(props: Mapping[str, Any], error: Exception) -> UserError:
    return UserError(f"the model registry at {props['access']['url']} cannot be used: {error}")


def _set_champion(props: dict[str, Any], previous: str, olds: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Give the pinned, promoted or deployed version the alias and return the outputs of the champion.

    The version has to pass the gate, then the model server tries it. A rejected or refused version loses the alias to
    `previous`: a pipeline may have given the alias to the version that it registered.
    """
    import requests

    olds = olds or {}
    promotion = standing_promotion(props, olds)
    model, wanted = props["model"], promotion.version or props["pinned"] or props["deployed"]
    if promotion.version:  # the gate applies to it, with the metrics of the run that made it
        props = props | {"run_id": f"canary-{wanted}", "pinned": ""}
    decision, rejected = "", ""
    try:
        with mlflow_rest(props["access"]) as registry:
            if wanted:
                version = _require_version(registry, model, wanted, props["setting"])
                try:
                    verdict = _apply_gate(registry, version, props, previous)
                    if verdict.passed:
                        _require_servable(props, wanted, previous)
                except UserError:
                    _restore(registry, model, wanted, previous)
                    raise
                if verdict.passed:
                    why = "; ".join(filter(None, (verdict.comparison, promotion.reason)))
                    registry.set_champion(model, wanted, why, computer_user())
                    decision = f"{verdict.comparison}: {model} version {wanted} is champion"
                else:
                    _restore(registry, model, wanted, previous)
                    rejected = wanted
                    decision = f"{verdict.comparison}, so version {wanted} of {model} does not become the champion"
            record_trial(registry, model, props, olds, computer_user())
            promoted = "" if rejected else promotion.version
            champion = _outputs(model, registry.champion(model))
            decided = {"decision": decision, "rejected": rejected, "promoted": promoted}
            return champion | decided | {"accepted": champion["version"]}
    except requests.RequestException as error:
        raise _unusable(props, error) from None


def _apply_gate(registry: MlflowRest, version: Mapping[str, Any], props: dict[str, Any], previous: str) -> Verdict:
    """Return the decision of the gate of the settings, from the metrics in the registry.

    It does not apply to a pinned version, to the version that was the champion before, and to one of another stack.
    """
    if props["pinned"]:
        return Verdict(True, props["setting"])
    if not props.get("gate"):
        return Verdict(True, "no gate")
    if version["version"] == previous or not props["run_id"]:
        return Verdict(True, "it was the champion before")
    metrics = registry.metrics(version, props["pipeline"], props["run_id"])
    compared = [each["metric"] for each in props["gate"] if each.get(BETTER)] if previous else []
    try:
        verdict = judge(props["gate"], metrics)
        if missing := [name for name in compared if CHAMPION_PREFIX + name not in metrics]:
            raise MissingMetricError(CHAMPION_PREFIX + missing[0], metrics)
    except MissingMetricError as error:
        raise UserError(
            f"workloads:pipelines.{props['pipeline']}.gate: version {version['version']} of the model {props['model']} "
            f"has no metric {error.metric}. It has: {', '.join(sorted(metrics)) or 'none'}. Log it in the test step, "
            f"as log_metric('{error.metric}', value) of an Output[Metrics], or in the MLflow run that registers the "
            "version. test_model logs all metrics that its kind of model has"
        ) from None
    return verdict


def _require_servable(props: dict[str, Any], wanted: str, previous: str) -> None:
    if reason := refusal(parse_tracking_access(props["access"]), props["model"], wanted):
        raise UserError(
            f"version {wanted} of the model {props['model']} cannot be served: {reason}. The champion is still "
            f"{f'version {previous}' if previous else 'none'}. Correct the pipeline, or set "
            f"{props['setting']} to another version"
        )


def _restore(registry: MlflowRest, model: str, wanted: str, previous: str) -> None:
    """Give the alias back to `previous` if the pipeline gave it to `wanted`."""
    champion = registry.champion(model)
    if champion and champion["version"] == wanted != previous:
        registry.set_champion(model, previous, f"version {wanted} was rejected", computer_user())


def _require_version(registry: MlflowRest, model: str, version: str, setting: str) -> dict[str, Any]:
    found = registry.version(model, version)
    if found is None:
        versions = ", ".join(map(str, registry.versions(model))) or "none"
        raise UserError(f"{setting}: model {model} has no version {version}; there are: {versions}")
    return found


def _outputs(model: str, champion: dict[str, Any] | None) -> dict[str, Any]:
    if champion is None:
        return {"version": "", "sha256": "", "accuracy": 0.0, "metrics": {}}
    tags = {tag["key"]: tag["value"] for tag in champion.get("tags", [])}
    metrics = {name: float(tags[name]) for name in MAIN_METRICS.values() if name in tags}
    if "sha256" not in tags or not metrics:
        raise UserError(
            f"version {champion['version']} of the model {model} has the alias {ALIAS}, but lacks the tags sha256 and "
            "accuracy: no pipeline of this program registered it (a regression has the tag rmse instead). Give the "
            "alias to another version"
        )
    return {
        "version": champion["version"],
        "sha256": tags["sha256"],
        "accuracy": metrics.get("accuracy", 0.0),
        "metrics": metrics,
    }
