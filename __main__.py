"""The platform as one program: settings -> infra -> platform -> workloads -> outputs."""

import pulumi
from mlplatform.base import local_platform
from mlplatform.foundation import kubeadm_foundation
from pulumi.runtime.config import CONFIG, get_config_env

from settings import cache_directory, load
from workloads.deploy import deploy

stack = pulumi.get_stack()
settings = load(stack, CONFIG.get() or get_config_env())
directory = cache_directory() / "stacks" / stack

if settings.infra.cluster == "none":
    platform = local_platform(settings.platform, directory)
    outputs = {"tracking_url": platform.tracking_url, **deploy(settings, platform)}
else:
    outputs = kubeadm_foundation(settings, stack, directory).outputs
for name, output in outputs.items():
    pulumi.export(name, output)
