"""`make back`: the return of a model to an earlier champion."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from infra.errors import UserError
from tools.cli.audit.audit_entries import record_action
from tools.cli.backup.stack_state import stack_settings
from tools.cli.cluster_access import AccessError, secret_outputs, tracking_output
from tools.cli.model_history import origin_lines, run_tags, utc_time
from tools.cli.pulumi_command import Pulumi
from tools.cli.summary import wrapped
from workloads.ml.champion_history import champion_changes

if TYPE_CHECKING:
    from settings.stack import StackSettings
    from workloads.ml.rest_client import MlflowRest

DIRTY = "-dirty"
"""End of a commit of a checkout with further changes."""
NOT_RETURNED = (
    "Not returned: the data of the pipeline, values of `pulumi config set`, the cluster, other models, and the content "
    "of MLflow."
)


def back(pulumi: Pulumi, arguments: Sequence[str]) -> int:
    """Pin an earlier champion in the settings of the stack and return the exit code; the next `up` serves it.

    Raises:
        AccessError: the stack serves no such model, or the model had no such champion or has no such version.
    """
    import requests

    from workloads.mlflow_rest import mlflow_rest

    parser = argparse.ArgumentParser(prog="make back", allow_abbrev=False)
    parser.add_argument("--to", required=True, help="TO: a version, or a time such as 2026-11-28T20:15 (UTC)")
    parser.add_argument("--model", help="the model; needed if the stack serves several")
    options = parser.parse_args(arguments)
    outputs, settings = secret_outputs(pulumi), stack_settings(pulumi)
    access = tracking_output(outputs, pulumi.stack)
    pipeline, model = _served(settings, options.model)
    try:
        with mlflow_rest(access) as registry:
            version = _wanted(registry, model, options.to)
            lines = [f"Model {model}, version {version['version']}", *origin_lines(registry, version)]
            commit = run_tags(registry, version).get("git_commit", "")
    except (requests.RequestException, UserError) as error:
        raise AccessError(f"MLflow of the stack {pulumi.stack} does not respond: {error}") from None
    setting, number = f"workloads:pipelines.{pipeline}.version", str(version["version"])
    pulumi.output("config", "set", "--path", setting, number)
    record_action(pulumi.name, outputs, "pinned the champion", f"{model}/{number}", f"make back TO={options.to}")
    for line in wrapped([*lines, *_next_steps(pulumi.stack, setting, number, commit, settings)]):
        print(line)
    return 0


def _served(settings: StackSettings, wanted: str | None) -> tuple[str, str]:
    """Return the pipeline and the name of the wanted model, or of the only one."""
    models = {each.model or name: name for name, each in settings.workloads.pipelines.items() if each.serve}
    if wanted is None and len(models) == 1:
        ((model, pipeline),) = models.items()
        return pipeline, model
    if wanted not in models:
        found = ", ".join(models) or "no model"
        raise AccessError(f"ARGS='--model {wanted or '...'}': the stack serves {found}; name one of its models")
    return models[wanted], wanted


def _wanted(registry: MlflowRest, model: str, to: str) -> dict[str, Any]:
    """Return the version `to`, or the champion at that time."""
    number = to if to.isdigit() else _champion_at(registry, model, to)
    version = registry.version(model, number)
    if version is None:
        versions = ", ".join(map(str, registry.versions(model))) or "none"
        raise AccessError(f"TO={to}: the model {model} has no version {number}; there are: {versions}")
    return version


def _champion_at(registry: MlflowRest, model: str, to: str) -> str:
    try:
        time = utc_time(to)
    except argparse.ArgumentTypeError as error:
        raise AccessError(f"TO={to}: {error}, or write the number of a version") from None
    versions = [each.version for each in champion_changes(registry.model_tags(model)) if each.time <= time]
    if not versions or not versions[-1]:
        raise AccessError(f"TO={to}: no champion of the model {model} is recorded at that time; see `make history`")
    return versions[-1]


def _next_steps(stack: str, setting: str, version: str, commit: str, settings: StackSettings) -> Iterator[str]:
    yield f"Set {setting}: {version}. `make preview STACK={stack}` shows the change, `make up STACK={stack}` makes it."
    if settings.serving.canary:
        yield "A promoted canary is the champion in place of this version: remove serving:canary first."
    if not commit:
        yield "Its commit is unknown."
    else:
        rest = ", whose checkout had further changes that no commit has" if commit.endswith(DIRTY) else ""
        yield f"The pipeline and committed settings of then: git switch --detach {commit.removesuffix(DIRTY)}{rest}."
    yield NOT_RETURNED
