"""The resource group of a stack in Azure, and the arguments that its resources share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_azure_native import resources

from settings.errors import SettingsError
from settings.machines.azure_settings import AzureSettings
from settings.types import Subnet

DOCUMENTATION = Subnet("192.0.2.0/24")
"""Addresses for documentation (RFC 5737), which only a preview accepts."""


@dataclass(frozen=True)
class AzureContext:
    """A resource group, whose deletion deletes all resources in it. `component` is their parent."""

    settings: AzureSettings
    group: resources.ResourceGroup
    tags: Mapping[str, str]
    component: pulumi.Resource

    @property
    def opts(self) -> pulumi.ResourceOptions:
        """Options of every resource in the group."""
        return pulumi.ResourceOptions(parent=self.component, deleted_with=self.group)

    @property
    def common(self) -> dict[str, Any]:
        """Arguments of every resource that has tags."""
        return {
            "resource_group_name": self.group.name,
            "location": self.settings.location,
            "tags": self.tags,
            "opts": self.opts,
        }


def azure_context(settings: AzureSettings, stack: str, component: pulumi.Resource) -> AzureContext:
    """Create the resource group of a stack, with the tags of the settings and the stack's name.

    Args:
        settings: of Azure.
        stack: name of the stack.
        component: parent of all resources.

    Raises:
        SettingsError: the operator's address is one for documentation, and this is not a preview.
    """
    if settings.operator.subnet_of(DOCUMENTATION) and not pulumi.runtime.is_dry_run():
        raise SettingsError(
            f"infra:azure.operator: {settings.operator} is an address for documentation, so the machines would be "
            "unreachable; set your public address: pulumi config set --path infra:azure.operator <your public address>"
        )
    tags = {"project": "mlplatform", "stack": stack} | settings.tags
    group = resources.ResourceGroup(
        f"mlplatform-{stack}", location=settings.location, tags=tags, opts=pulumi.ResourceOptions(parent=component)
    )
    return AzureContext(settings, group, tags, component)
