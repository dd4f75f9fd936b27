"""Repair of packages: kfp's compiler connects the fields of a loop's items to the wrong inputs.

`item.field` in a formatted text, or in an inner loop, becomes an input of the tasks around the loop. It has no value
there. `item.name` becomes the internal name of the item, a constant; that of a loop over a step's output lacks the name
of the step. An item of unknown type becomes a text, which a component with another type refuses. Every engine runs the
repaired package. A repaired package is left as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

GROUPS = ("condition-", "for-loop-", "exit-handler-")
"""Names of the tasks that stand for a condition, a loop or an exit handler; other DAGs are pipelines in a pipeline."""
CHANNEL = "pipelinechannel--"
ITEM = "-loop-item"
FIELD = "-subvar-"
INTERNAL_NAME = re.compile(rf"(?<![\w-])[\w-]+{ITEM}(?![\w-])")
"""The internal name of an item in a constant."""


def repair_package(package: dict[str, Any]) -> None:
    """Repair the inputs of the loops of a package."""
    for _, task, loop, items in groups_in(package, package["root"]):
        if "parameterIterator" in task:
            _connect(package, loop, items)
    while _remove_unused_inputs(package):
        pass
    for _, _, component, _ in groups_in(package, package["root"]):
        _restore_types(package, component)


def groups_in(
    package: Mapping[str, Any], dag: Mapping[str, Any], items: tuple[str, ...] = ()
) -> Iterator[tuple[str, Any, Any, tuple[str, ...]]]:
    """Yield the tasks below a DAG that are DAGs, outer ones first.

    Each comes with its name, its component, and the items that it can read: the item of its loop is the last one.
    """
    for name, task in dag["dag"]["tasks"].items():
        component = package["components"][task["componentRef"]["name"]]
        if "dag" not in component:
            continue
        readable = items if name.startswith(GROUPS) else ()
        if "parameterIterator" in task:
            readable = (*readable, task["parameterIterator"]["itemInput"])
        yield name, task, component, readable
        yield from groups_in(package, component, readable)


def named_items(internal_name: str, items: Sequence[str]) -> list[str]:
    """Return those of the items that have an internal name, with or without the name of a step before it."""
    return [item for item in items if f"-{item.removeprefix(CHANNEL)}".endswith(f"-{internal_name}")]


def _connect(package: dict[str, Any], dag: dict[str, Any], items: tuple[str, ...]) -> bool:
    """Read the last of the items and its fields from the item, in the DAG of its loop and the groups in it.

    Returns:
        True if the DAG needs the item.
    """
    needed = False
    item = items[-1]
    for name, task in dag["dag"]["tasks"].items():
        inputs = task.setdefault("inputs", {}).setdefault("parameters", {})
        _restore_name(inputs, items)
        for source in inputs.values():
            _restore_field(source, item)
        inner = package["components"][task["componentRef"]["name"]]
        own = task.get("parameterIterator", {}).get("itemInput")
        if name.startswith(GROUPS) and _connect(package, inner, (own, *items) if own else items):
            inputs.setdefault(item, {"componentInputParameter": item})
            declared = inner.setdefault("inputDefinitions", {}).setdefault("parameters", {})
            declared.setdefault(item, {"parameterType": "STRING"})
        needed |= any(source.get("componentInputParameter") == item for source in inputs.values())
    return needed


def _restore_name(inputs: dict[str, Any], items: tuple[str, ...]) -> None:
    """Replace the internal name of the last of the items by its field `name`, unless another item has this name."""
    item = items[-1]
    field = {"componentInputParameter": item, "parameterExpressionSelector": _selector("name")}
    placeholder = f"{{{{$.inputs.parameters['{item}{FIELD}name']}}}}"

    def replaced(value: Any) -> Any:
        if isinstance(value, list):
            return [replaced(each) for each in value]
        if isinstance(value, dict):
            return {key: replaced(each) for key, each in value.items()}
        if not isinstance(value, str):
            return value
        return INTERNAL_NAME.sub(
            lambda found: placeholder if named_items(found[0], items) == [item] else found[0], value
        )

    for key, source in list(inputs.items()):
        constant = source.get("runtimeValue", {}).get("constant")
        if (restored := replaced(constant)) == placeholder:
            inputs[key] = field
        elif restored != constant:
            inputs[f"{item}{FIELD}name"] = field
            source["runtimeValue"]["constant"] = restored


def _restore_field(source: dict[str, Any], item: str) -> None:
    prefix, name = f"{item}{FIELD}", source.get("componentInputParameter", "")
    if name.startswith(prefix) and not name.endswith(ITEM) and "parameterExpressionSelector" not in source:
        source |= {"componentInputParameter": item, "parameterExpressionSelector": _selector(name.removeprefix(prefix))}


def _remove_unused_inputs(package: dict[str, Any]) -> bool:
    """Remove the inputs of groups with which no task does anything; return True if there were any."""
    removed = False
    for _, task, component, _ in groups_in(package, package["root"]):
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


def _selector(field: str) -> str:
    return f'parseJson(string_value)["{field}"]'
