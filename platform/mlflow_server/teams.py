"""Teams in MLflow: two roles for each, with the experiments and models that it owns."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any

from mlplatform.mlflow_server.store_errors import EXISTS, MISSING, ignoring

TEAMS_FILE = "MLFLOW_TEAMS_FILE"
"""Environment variable with the path of teams.json, which only a stack with teams has.

The file has for each team {"experiments": [name], "models": {name: served}, "passwords": {"writer", "reader"}}. `*` is
what is shared.
"""
SHARED = "*"
PERMISSIONS = {"reader": "READ", "editor": "EDIT"}
"""Permission of a role on what a team owns."""
PROGRAM_ROLES = {"writer": "editor", "reader": "reader"}
"""Role of a program in its team, by its user."""
PROGRAMS = tuple(f"{user}." for user in PROGRAM_ROLES)
"""Beginnings of the names of teams' programs."""
PREFIX = "team:"
USER_ROLE = "__user_"
"""Beginning of the name of MLflow's role for the grants of a single user, which no other role can have."""
DENIAL = "DENY"
WORKSPACE = "default"
ARTIFACT_ROOT = "mlflow-artifacts:/"
"""Address of files, which the server itself keeps."""


def set_up_teams(auth: Any, file: Path, database_url: str) -> None:
    """Create the experiments, the served models and the roles of all teams; safe to run twice.

    An experiment has an id only once it exists. A model whose name is free would belong to the first who registers it.
    The creator of an experiment or a model, and other users with a grant of it, lose their right once a team owns it.

    Args:
        auth: MLflow's store of users.
        file: teams.json.
        database_url: the database of runs and models.
    """
    teams = json.loads(file.read_text())
    resources = _resources(teams, database_url)
    _revoke_grants_of_users(auth, set().union(*resources.values()))
    known = {role.name: role for role in auth.list_roles([WORKSPACE]) if role.name.startswith(PREFIX)}
    wanted = {
        _role_name(team, role): (permission, owned)
        for team, owned in resources.items()
        for role, permission in PERMISSIONS.items()
    }
    for name in known.keys() - wanted.keys():
        auth.delete_role(known[name].id)
    for name, (permission, owned) in wanted.items():
        role = known.get(name) or auth.create_role(name, WORKSPACE)
        granted = {(each.resource_type, each.resource_pattern): each.id for each in role.permissions}
        for resource in granted.keys() - owned:
            auth.remove_role_permission(granted[resource])
        for resource in owned - granted.keys():
            auth.add_role_permission(role.id, *resource, permission)
    _set_up_programs(auth, {team: owned.get("passwords", {}) for team, owned in teams.items()})


def team_user(user: str, team: str) -> str:
    """Return the name of a team's user for programs: that of shared programs, and the team."""
    return f"{user}.{team}"


def _revoke_grants_of_users(auth: Any, owned: Set[tuple[str, str]]) -> None:
    """Revoke what users may do on owned things without a team; roles of administrators and denials stay."""
    for role in auth.list_roles([WORKSPACE]):
        if not role.name.startswith(USER_ROLE):
            continue
        for each in role.permissions:
            thing = _thing(each.resource_type, each.resource_pattern)
            if thing in owned and each.permission != DENIAL:
                with ignoring(MISSING):
                    auth.remove_role_permission(each.id)


def _thing(kind: str, name: str) -> tuple[str, str]:
    """Return the experiment or model of a grant: a scorer is one of an experiment, a prompt is a registered model."""
    if kind == "scorer":
        return "experiment", name.partition("/")[0]
    return ("registered_model", name) if kind == "prompt" else (kind, name)


def _set_up_programs(auth: Any, passwords: Mapping[str, Mapping[str, str]]) -> None:
    """Create the users of programs of all teams, and delete those of teams that are gone."""
    wanted = {team_user(user, team): word for team, words in passwords.items() for user, word in words.items()}
    for user in [each.username for each in auth.list_users()]:
        if user.startswith(PROGRAMS) and user not in wanted:
            auth.delete_user(user)
    for name, password in wanted.items():
        user, _, team = name.partition(".")
        if not auth.has_user(name):
            auth.create_user(name, password)
        auth.update_user(name, password=password)
        join_teams(auth, name, PROGRAM_ROLES[user], [team])
    join_teams(auth, "writer", PROGRAM_ROLES["writer"], [])


def join_teams(auth: Any, user: str, role: str, teams: Sequence[str]) -> None:
    """Give a person the role in these teams, and in no other.

    A member of a team only reads what is shared.
    """
    person = auth.get_user(user).id
    own = [team for team in teams if team not in ("", SHARED)]
    wanted = {_role_name(team, role) for team in own} | {_role_name(SHARED, "reader" if own else role)}
    roles = {each.name: each.id for each in auth.list_roles([WORKSPACE]) if each.name.startswith(PREFIX)}
    current = {each.name for each in auth.list_user_roles(person)} & roles.keys()
    for name in current - wanted:
        with ignoring(MISSING):
            auth.unassign_role_from_user(person, roles[name])
    for name in (wanted & roles.keys()) - current:
        with ignoring(EXISTS):
            auth.assign_role_to_user(person, roles[name])


def _role_name(team: str, role: str) -> str:
    return f"{PREFIX}{team}:{role}"


def _resources(teams: Mapping[str, Mapping[str, Any]], database_url: str) -> dict[str, set[tuple[str, str]]]:
    """Return the kind and id of each thing that a team owns, by team; create what is missing."""
    from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore as RegistryStore
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore as TrackingStore

    tracking = TrackingStore(database_url, ARTIFACT_ROOT)  # type: ignore[no-untyped-call]
    registry = RegistryStore(database_url)  # type: ignore[no-untyped-call]
    resources: dict[str, set[tuple[str, str]]] = {}
    for team, owned in teams.items():
        resources[team] = {("registered_model", name) for name in owned["models"]}
        for name in owned["experiments"]:
            found = tracking.get_experiment_by_name(name)  # type: ignore[no-untyped-call]
            created = None if found else tracking.create_experiment(name)  # type: ignore[no-untyped-call]
            identifier = found.experiment_id if found else created
            resources[team].add(("experiment", str(identifier)))
        for name in (name for name, served in owned["models"].items() if served):
            with ignoring(EXISTS):
                registry.create_registered_model(name)  # type: ignore[no-untyped-call]
    return resources
