"""Rights at the door that persons gain and lose, for the report of a preview."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

RULES_FILE = "access.json"
"""Key of the ConfigMap with the rules of the door; none of them is secret."""
CALLERS = {
    "private": "administrators",
    "team": "every person who signs in",
    "public": "all clients",
}
"""Callers of a model without a team, by its visibility."""
Rules = Mapping[str, Any]


def right_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each person, group and model whose rights change.

    Args:
        before: the inputs of the door's ConfigMap until now; {} if it does not exist.
        after: its planned inputs; {} if it goes.
    """
    old, new = _rules(before), _rules(after)
    for kind, subject in (("users", "{}"), ("groups", "members of the group {}")):
        members = "people" if kind == "users" else "groups"
        for name in sorted({*_roles(old, kind), *_roles(new, kind), *_teams(old, members), *_teams(new, members)}):
            rights = [_right(_roles(each, kind).get(name), _teams(each, members).get(name)) for each in (old, new)]
            if rights[0] != rights[1]:
                yield f"{subject.format(f'`{name}`')}: {rights[1]} (now: {rights[0]})"
    for name in sorted(old["models"].keys() | new["models"].keys()):
        callers = [_callers(each, name) for each in (old, new)]
        if callers[0] != callers[1]:
            yield f"model `{name}`: for {callers[1]} (now: {callers[0]})"


def container_changes(name: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line if programs of a team gain or lose the right to read a container.

    Args:
        name: the name of the token's resource, which begins with the team and a slash; that of the shared token does
            not.
        before: the inputs of the token until now; {} if it does not exist.
        after: its planned inputs; {} if it goes.
    """
    team = name.rpartition("/")[0]
    old, new = (f"read the container `{state['container']}`" if state else "no right" for state in (before, after))
    if team and old != new:
        yield f"steps and notebooks of the team `{team}`: {new} (now: {old})"


def _rules(inputs: Mapping[str, Any]) -> Rules:
    text = (inputs.get("data") or {}).get(RULES_FILE)
    return {"users": {}, "groups": {}, "models": {}, "owners": {}, "teams": None} | (json.loads(text) if text else {})


def _roles(rules: Rules, kind: str) -> Mapping[str, str]:
    roles: Mapping[str, str] = {} if kind == "users" and rules.get("provider") else rules[kind]
    return roles


def _teams(rules: Rules, members: str) -> Mapping[str, str]:
    teams: Mapping[str, str] = (rules["teams"] or {}).get(members, {})
    return teams


def _right(role: str | None, teams: str | None) -> str:
    parts = [*([role] if role else []), *([f"member of {teams.replace(',', ', ')}"] if teams else [])]
    return ", ".join(parts) or "no right"


def _callers(rules: Rules, model: str) -> str:
    visibility = rules["models"].get(model)
    if visibility is None:
        return "no caller"
    owner = rules["owners"].get(model)
    return f"the team {owner}" if owner and visibility == "team" else CALLERS[visibility]
