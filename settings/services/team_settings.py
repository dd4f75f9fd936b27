"""Settings of teams: who owns which pipelines and models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import Field, StringConstraints, model_validator

from settings.services.blob_settings import ContainerSettings
from settings.services.s3_settings import DataStoreSettings
from settings.types import Name, Section

PersonName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}$", to_lower=True)]
TeamName = Annotated[str, StringConstraints(pattern=r"^[a-z]([a-z0-9-]{0,28}[a-z0-9])?$")]


class TeamQuotaSettings(Section):
    """Limits of all pods of a team together. A run takes up to 2 CPUs, 2 GiB of memory and 10 GiB of storage."""

    cpu: int = Field(ge=3)
    """Number of CPUs."""
    memory_gb: int = Field(ge=4)
    """Memory in GiB."""
    storage_gb: int = Field(ge=12)
    """Storage on the disks of nodes in GiB."""

    @property
    def limits(self) -> dict[str, str]:
        """Return the limits as a ResourceQuota of Kubernetes has them."""
        return {
            "limits.cpu": str(self.cpu),
            "limits.memory": f"{self.memory_gb}Gi",
            "limits.ephemeral-storage": f"{self.storage_gb}Gi",
        }


class TeamSettings(Section):
    """Persons who own pipelines and models, which no other team sees; see [Teams](door.md#teams)."""

    people: list[PersonName] = Field(default_factory=list)
    """Names in `platform:door.users`; with `platform:door.oidc`, verified email addresses, in upper or lower case."""
    groups: list[str] = Field(default_factory=list)
    """Groups of the OpenID Connect provider."""
    pipelines: list[Name] = Field(default_factory=list)
    """Pipelines of the team, with the models that they train."""
    models: list[Name] = Field(default_factory=list)
    """Further registered models of the team."""
    quota: TeamQuotaSettings | None = None
    """Limits of the team's namespace. Unset: 100 pods."""
    blobs: ContainerSettings | None = None
    """Container of Azure Blob Storage that steps and notebooks of this team alone read, and its pipelines by default.
    Unset: the team reads the container of `platform:blobs`."""
    s3: DataStoreSettings | None = None
    """S3 store that steps and notebooks of this team alone read and write. Unset: that of `platform:s3`."""

    @model_validator(mode="after")
    def _check_people(self) -> TeamSettings:
        if not (self.people or self.groups):
            raise ValueError("people, groups: a team without persons owns what only administrators see; set one")
        if wrong := [group for group in self.groups if not group or "," in group]:
            raise ValueError(f"groups: the name of a group is not empty and has no comma: {wrong[0]!r}")
        return self


def owners(owned: Mapping[str, Sequence[str]], setting: str) -> dict[str, str]:
    """Return the team of each thing that teams own.

    Args:
        owned: the things by team.
        setting: the setting that lists them, for the error.

    Raises:
        ValueError: two teams own the same thing.
    """
    found: dict[str, str] = {}
    for team, names in owned.items():
        for name in names:
            if name in found:
                raise ValueError(f"workloads:teams.{team}.{setting}: {name} belongs to the team {found[name]} already")
            found[name] = team
    return found
