"""Flannel, a pod network without encryption and without NetworkPolicies."""

from __future__ import annotations

import json

import pulumi
from mlplatform.addons import vendored_manifests
from mlplatform.addons.vendored_manifests import TOLERATIONS, pod_of, read_manifests
from mlplatform.k8s.waiting import SKIP_AWAIT

from infra.cluster import Cluster
from settings.infra import KubernetesSettings
from settings.paths import VERSIONS


class Flannel(pulumi.ComponentResource):
    """Flannel as the pod network of a cluster; it starts on each node that joins."""

    network = "flannel"
    encrypted = False
    network_policies = False

    def __init__(self, nodes: KubernetesSettings, cluster: Cluster) -> None:
        super().__init__("mlplatform:addons:Flannel", "flannel")
        pulumi.log.warn(
            "platform:network: flannel enforces no NetworkPolicy: every pod can reach every other one. Weave does"
        )
        objects = read_manifests("flannel")
        _configure_network(objects["ConfigMap", "kube-flannel-cfg"], nodes)
        _configure_pods(objects["DaemonSet", "kube-flannel-ds"], nodes)
        vendored_manifests.create(objects.values(), cluster.under(self))
        self.register_outputs({})


def _configure_network(config_map: vendored_manifests.Manifest, nodes: KubernetesSettings) -> None:
    data = config_map["data"]
    network = json.loads(data["net-conf.json"]) | {"Network": str(nodes.pod_subnet)}
    # The plugin of the bundle is older than version 1.0.0 of the interface, which upstream's file requires.
    plugins = json.loads(data["cni-conf.json"]) | {"cniVersion": "0.3.1"}
    data |= {"net-conf.json": json.dumps(network), "cni-conf.json": json.dumps(plugins)}


def _configure_pods(daemon_set: vendored_manifests.Manifest, nodes: KubernetesSettings) -> None:
    version = VERSIONS["flannel"]
    image = f"{version['repository']}/flannel:{version['version']}"
    daemon_set["metadata"]["annotations"] = SKIP_AWAIT
    pod = pod_of(daemon_set)
    pod["tolerations"] = TOLERATIONS
    daemon = vendored_manifests.container(daemon_set, "kube-flannel")
    daemon["image"] = image
    for container in (daemon, *pod["initContainers"]):
        container["resources"] = {"requests": {"cpu": "50m", "memory": "50Mi"}, "limits": {"memory": "200Mi"}}
    install_settings = vendored_manifests.container(daemon_set, "install-cni")
    # Upstream's own program for this copy is not in the image of the bundle.
    install_settings |= {"image": image, "command": ["cp", "-f"]}
    install_plugin = vendored_manifests.container(daemon_set, "install-cni-plugin")
    install_plugin["image"] = f"{version['repository']}/flannel-cni-plugin:{version['plugin']}"
    if nodes.packages == "bundle":  # which brings the plugin to the nodes together with the others
        pod["initContainers"].remove(install_plugin)
