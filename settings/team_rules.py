"""The rules of `workloads:teams`, which depend on the door, the notebooks and the data of the stack."""

from __future__ import annotations

from settings.infra import InfraSettings
from settings.platform import PlatformSettings
from settings.services.team_settings import TeamSettings, owners
from settings.workloads import WorkloadsSettings


def check_teams(infra: InfraSettings, platform: PlatformSettings, workloads: WorkloadsSettings) -> None:
    """Check that teams have clear owners, persons that the door knows, and containers that no other team reads.

    Raises:
        ValueError: a setting of a team does not go with the others.
    """
    teams = workloads.teams
    if not teams:
        return
    workloads.require_clear_owners()
    door = platform.door
    if door is None:
        raise ValueError("workloads:teams: only a door knows persons; set platform:door, or remove teams")
    if platform.pipelines == "kubeflow":
        raise ValueError(
            "workloads:teams: Kubeflow Pipelines cannot separate teams: its steps share a namespace, a service "
            "account and the keys of one object store, and its pages show all runs; set platform:pipelines: job, "
            "or remove teams"
        )
    if platform.network == "flannel":
        raise ValueError(
            "workloads:teams: platform:network: flannel enforces no NetworkPolicy, so pods of a team reach those of "
            "the others; set platform:network: weave, or remove teams"
        )
    for name, team in teams.items():
        if team.groups and door.oidc is None:
            raise ValueError(f"workloads:teams.{name}.groups: only a provider has groups; set platform:door.oidc")
        unknown = [] if door.oidc else [person for person in team.people if person not in door.users]
        if unknown:
            raise ValueError(
                f"workloads:teams.{name}.people: platform:door.users has no {unknown[0]}; make a password with "
                "`make user`, or remove the person"
            )
        _check_notebooks(platform, name, team)
    _check_containers(infra, platform, workloads)


def _check_notebooks(platform: PlatformSettings, name: str, team: TeamSettings) -> None:
    """Require that each size of notebooks is within the quota of a team."""
    notebooks, quota = platform.notebooks, team.quota
    for label, size in (notebooks.sizes if notebooks and quota else {}).items():
        if quota and (size.cpu > quota.cpu or size.memory_gb > quota.memory_gb):
            raise ValueError(
                f"platform:notebooks.sizes.{label}: {size.cpu} CPUs and {size.memory_gb} GiB are beyond "
                f"workloads:teams.{name}.quota, {quota.cpu} CPUs and {quota.memory_gb} GiB; make the size smaller, "
                "or the quota larger"
            )


def _check_containers(infra: InfraSettings, platform: PlatformSettings, workloads: WorkloadsSettings) -> None:
    """Require that a container of a team is that of one team alone, and that no other pipeline reads it."""
    containers = {name: [team.blobs.container] for name, team in workloads.teams.items() if team.blobs}
    created = infra.azure.storage if infra.azure else None
    shared = created or (platform.blobs.container if platform.blobs else None)
    for name, (container,) in containers.items():
        if shared is None:
            raise ValueError(
                f"workloads:teams.{name}.blobs: the container is in the account of platform:blobs, which is not set; "
                "set platform:blobs, or remove blobs"
            )
        if container == shared:
            setting = "infra:azure.storage" if created else "platform:blobs.container"
            raise ValueError(
                f"workloads:teams.{name}.blobs.container: {container} is {setting}, which all teams read; choose "
                "another name, or remove blobs"
            )
    owner = owners(containers, "blobs.container")
    for name, pipeline in workloads.pipelines.items():
        read = str(pipeline.parameters.get("container", ""))
        team = owner.get(read)
        if team not in (None, workloads.pipeline_teams.get(name)) and "account_url" not in pipeline.parameters:
            raise ValueError(
                f"workloads:pipelines.{name}.parameters.container: {read} belongs to the team {team}; add the "
                "pipeline to this team, or name another container"
            )
