"""Effects of the trial of a canary on the champion of its model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from mlplatform.monitoring.canary_trial import PROMOTED, TAKEN_BACK, TESTING

from infra.dynamic_provider import any_changed
from workloads.ml.rest_client import MlflowRest

CANARY_TAG = "canary"
"""Tag of a version with the measurements of its trial."""


class Promotion(NamedTuple):
    """The version that a trial made the champion, "" without one, and the reason if the trial ended now."""

    version: str
    reason: str = ""


def standing_promotion(props: Mapping[str, Any], olds: Mapping[str, Any]) -> Promotion:
    """Return the promotion of a trial, which stands until a new run deploys a version.

    It overrides a pinned version as long as the settings have the canary.

    Args:
        props: inputs of a champion.
        olds: its state before; {} for a new champion.
    """
    trial = props.get("canary") or {}
    promoted = trial["version"] if trial.get("state") == PROMOTED else ""
    if promoted and has_ended(trial, olds):
        return Promotion(promoted, f"the canary was promoted, because {trial['reason']}")
    if props["pinned"]:
        return Promotion(promoted if olds.get("promoted") else "")
    if any_changed(olds, props, ("deployed", "run_id")):
        return Promotion("")
    return Promotion(olds.get("promoted") or "")


def record_trial(
    registry: MlflowRest, model: str, props: Mapping[str, Any], olds: Mapping[str, Any], author: str
) -> None:
    """Record the end of a trial: its measurements at the version, and a canary that was taken back at the model."""
    trial = props.get("canary") or {}
    if not has_ended(trial, olds):
        return
    version, state = trial["version"], trial["state"]
    registry.tag_version(model, version, CANARY_TAG, f"{state}: {trial['reason']}")
    if state == TAKEN_BACK:
        registry.record_lost_canary(model, version, trial["reason"], author)


def has_ended(trial: Mapping[str, Any], olds: Mapping[str, Any]) -> bool:
    """Return True if the trial has ended since the last update."""
    return trial.get("state", TESTING) != TESTING and trial != olds.get("canary")
