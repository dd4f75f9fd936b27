"""A program with machines in Azure and a command on each. The variable SETTINGS holds the setting `infra:azure`."""

import os

import pulumi
from pulumi_command import remote

from infra.azure.site import AzureSite
from settings.machines.azure_settings import AzureSettings

site = AzureSite("azure", settings=AzureSettings.model_validate_json(os.environ["SETTINGS"]), stack=pulumi.get_stack())
for machine in site.machines:
    remote.Command(
        f"{machine.name}-uptime",
        connection=machine.connection,
        create="uptime",
        opts=pulumi.ResourceOptions(depends_on=machine.depends_on, deleted_with=machine.resource),
    )
pulumi.export("endpoint", site.endpoint)
if site.registry:
    pulumi.export("registry", site.registry.host)
if site.storage:
    pulumi.export("storage", site.storage.account_url)
