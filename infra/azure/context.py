"""Where in Azure a stack is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_azure_native import resources

from settings.infra import AzureSettings
from settings.types import SettingsError, Subnet

NOBODY = Subnet("192.0.2.0/24")
"""Addresses for documentation (RFC 5737): good enough for a preview."""


@dataclass(frozen=True)
class AzureContext:
    """A resource group, in which all else of the stack is and goes with it."""

    settings: AzureSettings
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


def azure_context(settings: AzureSettings, stack: str) -> AzureContext:
    """The resource group of a stack; its tags are the settings' and which stack it belongs to.

    Raises:
        SettingsError: the operator's address is one for documentation, and this is no preview.
    """
    if settings.operator.subnet_of(NOBODY) and not pulumi.runtime.is_dry_run():
        raise SettingsError(
            f"infra:azure.operator: {settings.operator} is nobody's address, so nobody could reach what is made; set "
            "the one that you have: pulumi config set --path infra:azure.operator <your public address>"
        )
    tags = {"project": "mlplatform", "stack": stack} | settings.tags
    group = resources.ResourceGroup(f"mlplatform-{stack}", location=settings.location, tags=tags)
    return AzureContext(settings, group, tags)
