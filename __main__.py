"""The platform as one program: settings -> infra -> platform -> workloads -> outputs."""

import pulumi
from mlplatform.base import local_platform
from pulumi.runtime.config import CONFIG, get_config_env

from settings import cache_directory, load
from workloads.deploy import deploy

stack = pulumi.get_stack()
settings = load(stack, CONFIG.get() or get_config_env())

platform = local_platform(settings.platform, cache_directory() / "stacks" / stack)
pulumi.export("tracking_url", platform.tracking_url)
for name, output in deploy(settings, platform).items():
    pulumi.export(name, output)
