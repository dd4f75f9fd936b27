"""The platform as one program: settings -> infra -> platform -> workloads -> outputs."""

from typing import Any

import pulumi
from mlplatform.cluster_provisioning import provision_kubeadm_cluster, provision_managed_cluster
from mlplatform.door.served_files import ServedFiles
from mlplatform.images.pinned_images import pin_images
from mlplatform.platform import cluster_platform, local_platform
from mlplatform.required_images import require_images
from pulumi.runtime.config import CONFIG, get_config_env

from infra.local.crontab import ScheduledCommand
from settings.loading import load_settings
from settings.paths import cache_directory
from settings.store_rules import has_replicated_stores
from workloads.deploy import deploy
from workloads.model_transfer.model_transfer import ACCESS
from workloads.notebook_servers import notebook_servers

stack = pulumi.get_stack()
settings = load_settings(stack, CONFIG.get() or get_config_env())
directory = cache_directory() / "stacks" / stack

outputs: dict[str, pulumi.Input[Any]]
if settings.infra.cluster == "none":
    platform = local_platform(settings.platform, directory)
    outputs = {"tracking_url": platform.tracking.url, **deploy(settings, platform).outputs}
    if blobs := platform.blobs:
        outputs["data_access"] = pulumi.Output.secret(blobs.access)  # for `make notebook`
else:
    if settings.infra.machines in ("lab", "hosts"):
        require_images(settings.platform, has_replicated_stores(settings.infra, settings.platform))
    pin_images(settings)
    provision = provision_managed_cluster if settings.infra.cluster == "existing" else provision_kubeadm_cluster
    provisioned = provision(settings, stack, directory)
    platform = cluster_platform(settings, provisioned, directory, stack)
    hub = [notebook_servers(settings.platform.notebooks, platform)] if settings.platform.notebooks else []
    deployed = deploy(settings, platform)
    if door := platform.door:
        behind = [*platform.run_after, *platform.pages, *hub, *deployed.servers]
        ServedFiles(provisioned.cluster, door.files, [door, *behind])
    access = platform.tracking.access
    outputs = {
        **provisioned.outputs,
        "tracking_url": platform.tracking.url,
        "tracking_login": pulumi.Output.secret({"username": access.username, "password": access.password}),
        **platform.outputs,
        **deployed.outputs,
    }
if (backup := settings.platform.backup) and backup.schedule:
    ScheduledCommand("backup", stack=stack, schedule=backup.schedule, setting="platform:backup.schedule")
# Another stack reads this output to copy the models of this one: workloads.model_transfer.model_transfer.
outputs[ACCESS] = pulumi.Output.secret(platform.tracking.reading_access.inputs())
for name, output in outputs.items():
    pulumi.export(name, output)
