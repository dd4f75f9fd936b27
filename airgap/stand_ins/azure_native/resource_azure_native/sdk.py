"""The inputs and outputs of a resource type, read from the Python SDK.

An import of an SDK package loads hundreds of modules, which takes seconds. This module registers an empty package for
the same folder. Then only the resource's own module is loaded, with the types that it names.
"""

from __future__ import annotations

import importlib
import inspect
import sys
import typing
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import distribution, version
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import pulumi

PACKAGE = "pulumi_azure_native"
VERSION = version(PACKAGE)
_FOLDER = Path(str(distribution(PACKAGE).locate_file(PACKAGE)))
_NAMES = {"Output": pulumi.Output, "Awaitable": Awaitable, "T": TypeVar("T")}
"""The types inside `pulumi.Input`, by the names that annotations use."""
_SIMPLE = (str, int, float, bool)
_STRINGS = (Mapping, (str, str))


class NotInSdk(Exception):
    """The SDK has no resource type with that token."""


@dataclass(frozen=True)
class Input:
    """An input of a resource type."""

    type: Any
    """The annotation; it may name further classes of inputs."""
    required: bool


@dataclass(frozen=True)
class ResourceSchema:
    """The inputs and outputs of a resource type."""

    inputs: Mapping[str, Input]
    outputs: frozenset[str]
    """Names of all outputs."""
    echoed: frozenset[str]
    """Outputs of a simple type or a mapping of strings; each equals the input of the same name, if there is one."""


@cache
def resource(token: str) -> ResourceSchema:
    """Return the resource type of a token such as `azure-native:network:Subnet`.

    Raises:
        NotInSdk: the SDK has no such type.
    """
    module, name = _module(token)
    arguments = getattr(module, f"{name}InitArgs", None) or getattr(module, f"{name}Args")
    outputs = _getters(getattr(module, name))
    echoed = frozenset(output for output, hint in outputs.items() if _is_simple(hint))
    return ResourceSchema(inputs(arguments), frozenset(outputs), echoed)


@cache
def inputs(arguments: type) -> Mapping[str, Input]:
    """Return the inputs of a class of arguments, by their names on the wire."""
    constructor = vars(arguments)["__init__"]
    hints = typing.get_type_hints(constructor, localns=_NAMES)
    parameters = inspect.signature(constructor).parameters
    names = {fget.__name__: _name(fget) for fget in _properties(arguments)}
    return {
        names[name]: Input(hints[name], parameter.default is inspect.Parameter.empty)
        for name, parameter in parameters.items()
        if name in names
    }


def alternatives(hint: Any) -> list[Any]:
    """Return the plain types of a hint, without outputs and awaitables."""
    if typing.get_origin(hint) is typing.Union:
        return [each for branch in typing.get_args(hint) for each in alternatives(branch)]
    return [] if typing.get_origin(hint) in (pulumi.Output, Awaitable) or hint is type(None) else [hint]


def _is_simple(hint: Any) -> bool:
    kinds = alternatives(typing.get_args(hint)[0])
    return all(kind in _SIMPLE or (typing.get_origin(kind), typing.get_args(kind)) == _STRINGS for kind in kinds)


def _getters(described: type) -> dict[str, Any]:
    return {_name(fget): typing.get_type_hints(fget, localns=_NAMES)["return"] for fget in _properties(described)}


def _properties(described: type) -> list[Any]:
    return [
        member.fget
        for member in vars(described).values()
        if isinstance(member, property) and hasattr(member.fget, "_pulumi_name")
    ]


def _name(fget: Any) -> str:
    return str(fget._pulumi_name)


def _module(token: str) -> tuple[ModuleType, str]:
    """Load the module that defines a resource type; return it with the type's Python name."""
    _, package, name = token.split(":")
    for file in sorted((_FOLDER / package).glob("*.py")):
        if f'@pulumi.type_token("{token}")\nclass {name}(pulumi.CustomResource)' in file.read_text():
            return _load(package, file.stem), name
    raise NotInSdk(f"{PACKAGE} {VERSION} has no {token}")


def _load(package: str, module: str) -> ModuleType:
    for name, folder in ((PACKAGE, _FOLDER), (f"{PACKAGE}.{package}", _FOLDER / package)):
        if name not in sys.modules:
            sys.modules[name] = ModuleType(name)
            sys.modules[name].__path__ = [str(folder)]
    return importlib.import_module(f"{PACKAGE}.{package}.{module}")
