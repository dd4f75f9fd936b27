"""Repair of packages: kfp's compiler connects the fields of a loop's items to the wrong inputs.

`item.field` in a formatted text, or in an inner loop, becomes an input of the tasks around the loop. It has no value
there. `item.name` becomes the internal name of the item, a constant. An item of unknown type becomes a text, which a
component with another type refuses. Every engine runs the repaired package. A repaired package is left as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

GROUPS = ("condition-", "for-loop-", "exit-handler-")
"""Names of the tasks that stand for a condition, a loop or an exit handler; other DAGs are pipelines in a pipeline."""
CHANNEL = "pipelinechannel--"
ITEM = "-loop-item"
FIELD = "-subvar-"


def repair_package(package: dict[str, Any]) -> None:
    """Repair the inputs of the loops of a package."""
    for task, loop in _dags(package):
        if "parameterIterator" in task:
            _connect(package, loop, task["parameterIterator"]["itemInput"])
    while _remove_unused_inputs(package):
        pass
    for _, component in _dags(package):
        _restore_types(package, component)


def _connect(package: dict[str, Any], dag: dict[str, Any], item: str) -> bool:
    """Read an item and its fields from the item, in the DAG of its loop and the groups in it.

    Returns:
        True if the DAG needs the item.
    """
    needed = False
    for name, task in dag["dag"]["tasks"].items():
        inputs = task.setdefault("inputs", {}).setdefault("parameters", {})
        _restore_name(inputs, item)
        for source in inputs.values():
            _restore_field(source, item)
        inner = package["components"][task["componentRef"]["name"]]
        if name.startswith(GROUPS) and _connect(package, inner, item):
            inputs.setdefault(item, {"componentInputParameter": item})
            declared = inner.setdefault("inputDefinitions", {}).setdefault("parameters", {})
            declared.setdefault(item, {"parameterType": "STRING"})
        needed |= any(source.get("componentInputParameter") == item for source in inputs.values())
    return needed


def _restore_name(inputs: dict[str, Any], item: str) -> None:
    """Replace the internal name of an item by the item's field `name`."""
    internal = re.compile(rf"(?<![\w-]){re.escape(item.removeprefix(CHANNEL))}(?![\w-])")
    for key, source in list(inputs.items()):
        text = source.get("runtimeValue", {}).get("constant")
        if not isinstance(text, str) or not internal.search(text):
            continue
        field = {"componentInputParameter": item, "parameterExpressionSelector": _selector("name")}
        if internal.fullmatch(text):
            inputs[key] = field
        else:
            inputs[f"{item}{FIELD}name"] = field
            placeholder = f"{{{{$.inputs.parameters['{item}{FIELD}name']}}}}"
            source["runtimeValue"]["constant"] = internal.sub(placeholder, text)


def _restore_field(source: dict[str, Any], item: str) -> None:
    prefix, name = f"{item}{FIELD}", source.get("componentInputParameter", "")
    if name.startswith(prefix) and not name.endswith(ITEM) and "parameterExpressionSelector" not in source:
        source |= {"componentInputParameter": item, "parameterExpressionSelector": _selector(name.removeprefix(prefix))}


def _remove_unused_inputs(package: dict[str, Any]) -> bool:
    """Remove the inputs of groups with which no task does anything; return True if there were any."""
    removed = False
    for task, component in _dags(package):
        used = {
            source.get("componentInputParameter")
            for inner in component["dag"]["tasks"].values()
            for source in inner.get("inputs", {}).get("parameters", {}).values()
        }
        iterator = task.get("parameterIterator", {})
        used |= {iterator.get("itemInput"), iterator.get("items", {}).get("inputParameter")}
        condition = task.get("triggerPolicy", {}).get("condition", "")
        declared = component.get("inputDefinitions", {}).get("parameters", {})
        for name in [each for each in declared if ITEM in each and each not in used and f"'{each}'" not in condition]:
            del declared[name]
            task["inputs"]["parameters"].pop(name, None)
            removed = True
    return removed


def _restore_types(package: dict[str, Any], component: dict[str, Any]) -> None:
    """Give items, and fields of items, the type that their consumers require."""
    for name, spec in component.get("inputDefinitions", {}).get("parameters", {}).items():
        if ITEM in name and spec["parameterType"] == "STRING":
            required = _required_types(package, component, name)
            if len(required) == 1:
                spec["parameterType"] = required.pop()


def _required_types(package: dict[str, Any], component: dict[str, Any], name: str) -> set[str]:
    """Return the types, other than text, that the consumers of a DAG's input require; a text accepts every value."""
    found = set()
    for task in component["dag"]["tasks"].values():
        inner = package["components"][task["componentRef"]["name"]]
        declared = inner.get("inputDefinitions", {}).get("parameters", {})
        for key, source in task.get("inputs", {}).get("parameters", {}).items():
            if source.get("componentInputParameter") != name or key not in declared:
                continue
            if "parameterExpressionSelector" in source:
                found.add("STRUCT")
            elif key == task.get("parameterIterator", {}).get("items", {}).get("inputParameter"):
                found.add("LIST")
            elif "dag" in inner:
                found |= _required_types(package, inner, key) | _types_in_condition(task, key)
            else:
                found.add(declared[key]["parameterType"])
    return found - {"STRING"} if "CONDITION" not in found else found


def _types_in_condition(task: dict[str, Any], name: str) -> set[str]:
    """Return a type that no parameter has if a condition compares the input as a text."""
    condition = task.get("triggerPolicy", {}).get("condition", "")
    return {"CONDITION", "STRING"} if f"'{name}'" in condition else set()


def _dags(package: dict[str, Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield the tasks that are DAGs, each with its component."""
    for parent in [package["root"], *package["components"].values()]:
        for task in parent.get("dag", {}).get("tasks", {}).values():
            component = package["components"][task["componentRef"]["name"]]
            if "dag" in component:
                yield task, component


def _selector(field: str) -> str:
    return f'parseJson(string_value)["{field}"]'
