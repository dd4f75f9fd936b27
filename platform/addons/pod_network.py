"""The choice of the pod network."""

from __future__ import annotations

from mlplatform.addons.flannel import Flannel
from mlplatform.addons.weave import Weave

from infra.cluster import Cluster
from settings.infra import KubernetesSettings
from settings.platform import PlatformSettings


def pod_network(settings: PlatformSettings, nodes: KubernetesSettings, cluster: Cluster) -> Flannel | Weave:
    """Create the pod network that the settings name. Nodes become Ready once it runs on them."""
    return Flannel(nodes, cluster) if settings.network == "flannel" else Weave(settings, nodes, cluster)
