"""A Kubernetes cluster on three existing hosts, without the platform."""

from pathlib import Path

import pulumi
from mlplatform.addons.pod_network import pod_network

from infra.hosts import hosts
from infra.kubeadm import KubeadmCluster
from infra.registry import container_registry
from settings.infra import HostsSettings, KubernetesSettings
from settings.platform import PlatformSettings, RegistrySettings

config = pulumi.Config()
kubernetes = KubernetesSettings.model_validate(config.get_object("kubernetes") or {})
mirror = config.get_object("registry")  # mirror of images and packages, if nodes cannot reach upstream
kubeadm = KubeadmCluster(
    "three-hosts",
    machines=hosts(HostsSettings.model_validate(config.require_object("hosts"))),
    settings=kubernetes,
    registry=container_registry(RegistrySettings.model_validate(mirror), None, Path.cwd(), []) if mirror else None,
)
pods = pod_network(
    PlatformSettings.model_validate(config.get_object("platform") or {}), kubernetes, kubeadm.bootstrap_view()
)
cluster = kubeadm.ready_cluster([pods])

pulumi.export("kubeconfig", cluster.kubeconfig)
pulumi.export("nodes", cluster.nodes)
