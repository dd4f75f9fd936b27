"""Servers from which a person chooses: one for each of the person's teams and each size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def server_profiles(settings: Mapping[str, Any], teams: Sequence[str]) -> list[dict[str, Any]]:
    """Return the profiles of KubeSpawner for a person; [] for a person without a team in a stack with teams.

    Args:
        settings: the settings of the hub.
        teams: the teams of the person.
    """
    return [
        {
            "display_name": ", ".join([*([f"team {team}"] if team else []), size["name"]]),
            "description": f"{size['cpu']} CPUs, {size['memory_gb']} GiB of memory",
            "slug": "--".join([*([team] if team else []), size["name"]]),
            "kubespawner_override": {
                "namespace": namespace,
                "cpu_limit": size["cpu"],
                "mem_limit": f"{size['memory_gb']}G",
            },
        }
        for team, namespace in settings["spaces"].items()
        if team in ("", *teams)
        for size in settings["sizes"]
    ]
