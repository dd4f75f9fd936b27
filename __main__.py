"""The platform as one program: settings -> infra -> platform -> workloads -> outputs."""

from typing import Any

import pulumi
from mlplatform.cluster import provision_kubeadm_cluster, provision_managed_cluster
from mlplatform.kubeflow import kubeflow_images
from mlplatform.platform import cluster_platform, local_platform
from pulumi.runtime.config import CONFIG, get_config_env

from settings.loading import load
from settings.paths import cache_directory
from workloads.deploy import deploy
from workloads.model_transfer.model_transfer import ACCESS

stack = pulumi.get_stack()
settings = load(stack, CONFIG.get() or get_config_env())
directory = cache_directory() / "stacks" / stack

outputs: dict[str, pulumi.Input[Any]]
if settings.infra.cluster == "none":
    platform = local_platform(settings.platform, directory)
    outputs = {"tracking_url": platform.tracking_url, **deploy(settings, platform)}
else:
    if settings.platform.pipelines == "kubeflow" and settings.infra.machines in ("lab", "hosts"):
        kubeflow_images.require_images(settings.platform.registry)
    make = provision_managed_cluster if settings.infra.cluster == "existing" else provision_kubeadm_cluster
    foundation = make(settings, stack, directory)
    platform = cluster_platform(settings.platform, foundation, directory, stack)
    login = {part: platform.tracking.access[part] for part in ("username", "password")}
    outputs = {
        **foundation.outputs,
        "tracking_url": platform.tracking_url,
        "tracking_login": pulumi.Output.secret(login),
        **platform.outputs,
        **deploy(settings, platform),
    }
# For a stack that takes over this one's models, see workloads.model_transfer.model_transfer.
outputs[ACCESS] = pulumi.Output.secret({"url": platform.tracking_url, **platform.tracking.access})
for name, output in outputs.items():
    pulumi.export(name, output)
