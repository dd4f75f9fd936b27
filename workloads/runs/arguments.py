"""Arguments of a pipeline: values from the settings, from the platform and from the run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pulumi import contains_unknowns
from pydantic import ConfigDict, TypeAdapter, ValidationError

from infra.dynamic_provider import UserError
from workloads.engines.dag.parameter_values import ParameterError, require_exact

RUN_PARAMETERS = ("run_key", "tracking_url")
"""Parameters that `add_run_parameters` sets."""
SETTINGS = ("columns", "tune", "dask")
"""Parameters whose setting stands beside `parameters`."""
TYPES: dict[str, TypeAdapter[Any]] = {
    "STRING": TypeAdapter(str, config=ConfigDict(coerce_numbers_to_str=True)),
    "NUMBER_INTEGER": TypeAdapter(int),
    "NUMBER_DOUBLE": TypeAdapter(float),
    "BOOLEAN": TypeAdapter(bool),
    "LIST": TypeAdapter(list),
    "STRUCT": TypeAdapter(dict),
}
"""Parser for each parameter type of the IR: `pulumi config set` stores numbers as text."""


def resolve_arguments(
    pipeline: str,
    declared: Mapping[str, Any],
    parameters: Mapping[str, Any],
    platform: Mapping[str, Any],
    setting: str = "",
) -> dict[str, Any]:
    """Return the arguments of a pipeline, without the parameters of one run.

    Values that are unknown in a preview stay unknown.

    Args:
        pipeline: the name of the pipeline.
        declared: `PipelinePackage.parameters`.
        parameters: values from the settings; they override `platform`.
        platform: values from the platform, for parameters that the pipeline declares.
        setting: what sets `parameters`, for errors. Unset: the setting of the pipeline.

    Raises:
        UserError: a parameter of the settings does not exist, has the wrong type or is missing.
    """
    setting = setting or f"workloads:pipelines.{pipeline}.parameters"
    if unknown := sorted(set(parameters) - set(declared)):
        if unknown[0] in SETTINGS:
            setting = f"workloads:pipelines.{pipeline}.{unknown[0]}"
        raise UserError(
            f"{setting}: the pipeline has no parameter {', '.join(unknown)}; "
            f"it has: {', '.join(sorted(declared)) or 'none'}"
        )
    set_values = {name: value for name, value in parameters.items() if value is not None}
    given = {name: value for name, value in platform.items() if name in declared} | set_values
    required = {name for name, spec in declared.items() if not spec.get("isOptional") and "defaultValue" not in spec}
    if missing := sorted(required - set(given) - set(RUN_PARAMETERS)):
        raise UserError(f"{setting}: {', '.join(missing)} must be set: the pipeline has no default for it")
    return {name: _parse(f"{setting}.{name}", declared[name]["parameterType"], value) for name, value in given.items()}


def add_run_parameters(
    arguments: Mapping[str, Any], declared: Mapping[str, Any], run_key: str, tracking_url: str
) -> dict[str, Any]:
    """Return the arguments with the id of the run and the address of MLflow, if the pipeline declares them."""
    values = dict(zip(RUN_PARAMETERS, (run_key, tracking_url), strict=True))
    return {**arguments, **{name: value for name, value in values.items() if name in declared}}


def _parse(setting: str, parameter_type: str, value: Any) -> Any:
    if contains_unknowns(value):
        return value
    try:
        parsed = TYPES[parameter_type].validate_python(_restore_integers(value))
    except ValidationError:
        raise UserError(f"{setting}: {value!r} is not of the pipeline's type for it, {parameter_type}") from None
    try:
        require_exact(setting, parsed)
    except ParameterError as error:
        raise UserError(str(error)) from None
    return parsed


def _restore_integers(value: Any) -> Any:
    """Return the value of the settings: Pulumi passes the number 5 as 5.0, which gives another text."""
    if isinstance(value, dict):
        return {name: _restore_integers(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_restore_integers(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
