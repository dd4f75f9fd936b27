"""A Kubernetes cluster on three hosts that are there already, and nothing else."""

from pathlib import Path

import pulumi
from mlplatform.addons.pod_network import pod_network

from infra.hosts import hosts
from infra.kubeadm.kubeadm_cluster import KubeadmCluster
from infra.registry import container_registry
from settings.infra import HostsSettings, KubernetesSettings
from settings.platform import PlatformSettings, RegistrySettings

config = pulumi.Config()
kubernetes = KubernetesSettings.model_validate(config.get_object("kubernetes") or {})
private = config.get_object("registry")  # where nodes find images and packages that they cannot have from their makers
kubeadm = KubeadmCluster(
    "three-hosts",
    machines=hosts(HostsSettings.model_validate(config.require_object("hosts"))),
    settings=kubernetes,
    registry=container_registry(RegistrySettings.model_validate(private), None, Path.cwd(), []) if private else None,
)
pods = pod_network(
    PlatformSettings.model_validate(config.get_object("platform") or {}), kubernetes, kubeadm.before_ready()
)
cluster = kubeadm.cluster([pods])

pulumi.export("kubeconfig", cluster.kubeconfig)
pulumi.export("nodes", cluster.nodes)
