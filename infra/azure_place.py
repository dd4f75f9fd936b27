"""Where in Azure a stack is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_azure_native import resources

from settings import Azure


@dataclass(frozen=True)
class Place:
    """A resource group, in which all else of the stack is and goes with it."""

    settings: Azure
    group: resources.ResourceGroup
    tags: Mapping[str, str]

    @property
    def opts(self) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(deleted_with=self.group)

    @property
    def common(self) -> dict[str, Any]:
        """The arguments that every tagged resource of this place has alike."""
        return {
            "resource_group_name": self.group.name,
            "location": self.settings.location,
            "tags": self.tags,
            "opts": self.opts,
        }


def azure_place(settings: Azure, stack: str) -> Place:
    """The resource group of a stack; its tags are the settings' and which stack it belongs to."""
    tags = {"project": "mlplatform", "stack": stack} | settings.tags
    group = resources.ResourceGroup(f"mlplatform-{stack}", location=settings.location, tags=tags)
    return Place(settings, group, tags)
