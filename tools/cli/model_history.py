"""`make history`: the champions of each model over time, and what made each of them."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import requests

from infra.errors import UserError
from settings.metrics import MAIN_METRICS
from tools.cli.cluster_access import AccessError, secret_outputs, tracking_output
from tools.cli.pulumi_command import Pulumi
from tools.cli.summary import wrapped
from workloads.ml.champion_history import CANARY_PREFIX, champion_changes
from workloads.ml.rest_client import MlflowRest
from workloads.mlflow_rest import mlflow_rest


def history(pulumi: Pulumi, arguments: Sequence[str]) -> int:
    """Print the champions of the stack's models and return the exit code.

    Raises:
        AccessError: The stack has no MLflow, MLflow does not respond, or it has no such model.
    """
    parser = argparse.ArgumentParser(prog="make history", allow_abbrev=False)
    parser.add_argument("--model", help="print this model only")
    parser.add_argument("--at", type=utc_time, help="print the champion at a time, such as 2026-11-28T20:15 (UTC)")
    options = parser.parse_args(arguments)
    access = tracking_output(secret_outputs(pulumi), pulumi.stack)
    try:
        for line in wrapped(history_lines(access, options.model, options.at)):
            print(line)
    except (requests.RequestException, UserError) as error:
        raise AccessError(f"MLflow of the stack {pulumi.stack} does not respond: {error}") from None
    return 0


def history_lines(access: Mapping[str, str], model: str | None, at: datetime | None) -> Iterator[str]:
    """Yield lines on each change of a champion, with the run that made the version.

    Args:
        access: the stack's output with the access to MLflow.
        model: the only model; None for all.
        at: the time of interest in UTC: only its champion is listed; None for all times.

    Raises:
        AccessError: MLflow has no such model.
    """
    with mlflow_rest(access) as registry:
        models = registry.models()
        if model and model not in models:
            raise AccessError(f"--model {model}: MLflow has {', '.join(models) or 'no model'}")
        for name in [model] if model else models:
            yield f"Model {name}"
            yield from _champions(registry, name, at)


def utc_time(text: str) -> datetime:
    """Return the time that an argument names, in UTC unless it says otherwise."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no time; write it as 2026-11-28T20:15, in UTC") from None
    return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)


def _champions(registry: MlflowRest, model: str, at: datetime | None) -> Iterator[str]:
    tags = registry.model_tags(model)
    changes, lost = champion_changes(tags), champion_changes(tags, CANARY_PREFIX)
    if at:
        changes, lost = [change for change in changes if change.time <= at][-1:], []
    if not changes:
        yield "  no champion" + (f" at {_shown(at)} is recorded" if at else " is recorded")
    for change in sorted([*changes, *lost], key=lambda each: each.time):
        if change in lost:
            yield f"  {_shown(change.time)}  version {change.version} was taken back"
            yield f"    {change.reason}, by {change.author}"
            continue
        yield f"  {_shown(change.time)}  {f'version {change.version}' if change.version else 'no champion'}"
        yield f"    {change.reason}, by {change.author}"
        if change.version:
            version = registry.version(model, change.version)
            yield from origin_lines(registry, version) if version else ["    the version is deleted"]


def run_tags(registry: MlflowRest, version: Mapping[str, Any]) -> dict[str, str]:
    """Return the tags of the run that registered a version; {} if the run is deleted."""
    run = registry.run_of(version)
    return _by_key(run["data"].get("tags", [])) if run else {}


def origin_lines(registry: MlflowRest, version: Mapping[str, Any]) -> Iterator[str]:
    """Yield lines on the pipeline run that made a version: its decision, commit, data and parameters."""
    tags = _by_key(version.get("tags", []))
    scores = [f"{name} {tags[name]}" for name in MAIN_METRICS.values() if name in tags]
    digest = tags.get("sha256", "unknown")
    yield f"    {', '.join([*scores, f'SHA-256 {digest}'])}"
    run = registry.run_of(version)
    if run is None:
        yield "    its run is deleted"
        return
    of_run = _by_key(run["data"].get("tags", []))
    commit = of_run.get("git_commit", "unknown")
    yield f"    pipeline {of_run.get('pipeline', 'unknown')}, run {run['info']['run_name']}, commit {commit}"
    if "decision" in of_run:
        yield f"    {of_run['decision']}"
    for used in run.get("inputs", {}).get("dataset_inputs", []):
        yield f"    data {used['dataset']['name']}, digest {used['dataset']['digest']}"
    parameters = _by_key(run["data"].get("params", []))
    if parameters:
        yield f"    parameters: {', '.join(f'{name}={value}' for name, value in sorted(parameters.items()))}"


def _by_key(pairs: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    return {pair["key"]: pair["value"] for pair in pairs}


def _shown(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S} UTC"
