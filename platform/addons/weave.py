"""Weave Net, an encrypted pod network that enforces NetworkPolicies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes
from mlplatform.addons.vendored_manifests import TOLERATIONS
from mlplatform.k8s.deployment import settings_digest
from mlplatform.k8s.rbac import service_account
from mlplatform.k8s.waiting import SKIP_AWAIT

from infra.cluster import Cluster
from infra.secrets import RandomPassword
from settings.infra import KubernetesSettings
from settings.paths import VERSIONS
from settings.platform import PlatformSettings

NAME = "weave-net"
NAMESPACE = "kube-system"
PASSWORD = "weave-password"
LABELS = {"name": NAME}
CLUSTER_RULES = [
    {"apiGroups": [""], "resources": ["pods", "namespaces", "nodes"], "verbs": ["get", "list", "watch"]},
    {"apiGroups": ["networking.k8s.io"], "resources": ["networkpolicies"], "verbs": ["get", "list", "watch"]},
    {"apiGroups": [""], "resources": ["nodes/status"], "verbs": ["patch", "update"]},
]
NAMESPACE_RULES = [
    {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": [NAME], "verbs": ["get", "update"]},
    {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create"]},
]
ROUTER_PATHS = {
    "state": ("/var/lib/weave", "/weavedb"),
    "lib-modules": ("/lib/modules", "/lib/modules"),
    "machine-id": ("/etc/machine-id", "/host/etc/machine-id"),
    "dbus": ("/var/lib/dbus", "/host/var/lib/dbus"),
}
"""Volume: its path on the node and in the router's container. The name of the node's peer derives from its IDs."""
INIT_PATHS = {
    "lib-modules": ("/lib/modules", "/lib/modules"),
    "opt": ("/opt", "/host/opt"),
    "home": ("/home", "/host/home"),
    "etc": ("/etc", "/host/etc"),
}
"""Volume: its path on the node and in the init container, which alone writes to the node's folders."""
READ_ONLY = {"machine-id", "dbus", "lib-modules"}
INSTALL_PLUGIN = """for module in br_netfilter xt_set; do
  modprobe "$module" || echo "$module is part of the kernel, or missing" >&2
done
mkdir -p /host/opt/cni/bin /host/etc/cni/net.d
HOST_ROOT=/host /home/weave/weave --local setup-cni
"""
"""For the bundle's version of Weave Net, whose image has no program for this."""
ENVIRONMENT: list[dict[str, Any]] = [
    {"name": "HOSTNAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
    # The nodes' distributions keep their own rules in nft.
    {"name": "IPTABLES_BACKEND", "value": "nft"},
]


class Weave(pulumi.ComponentResource):
    """Weave Net as the pod network of a cluster; it starts on each node that joins."""

    network = "weave"
    encrypted = True
    network_policies = True

    def __init__(self, settings: PlatformSettings, nodes: KubernetesSettings, cluster: Cluster) -> None:
        super().__init__("mlplatform:addons:Weave", "weave")
        inside = cluster.under(self)
        account = service_account(NAME, NAMESPACE, inside, cluster_rules=CLUSTER_RULES, namespace_rules=NAMESPACE_RULES)
        secret = kubernetes.core.v1.Secret(
            PASSWORD,
            metadata={"name": PASSWORD, "namespace": NAMESPACE, "labels": LABELS},
            string_data={"password": RandomPassword(PASSWORD).value},
            opts=inside.options(),
        )
        kubernetes.apps.v1.DaemonSet(
            NAME,
            # The stack waits for nodes, which become Ready by this DaemonSet.
            metadata={"name": NAME, "namespace": NAMESPACE, "labels": LABELS, "annotations": SKIP_AWAIT},
            spec={
                "selector": {"matchLabels": LABELS},
                "updateStrategy": {"type": "RollingUpdate"},
                "template": {
                    # The router reads the password only at its start. Routers with two passwords do not connect.
                    "metadata": {"labels": LABELS, "annotations": {"settings": settings_digest([secret])}},
                    "spec": _pod(settings, nodes),
                },
            },
            opts=inside.options(*account, secret),
        )
        self.register_outputs({})


def _pod(settings: PlatformSettings, nodes: KubernetesSettings) -> dict[str, Any]:
    version = VERSIONS["weave"]["bundle" if nodes.packages == "bundle" else "upstream"]
    router = _router(version, settings, nodes)
    policy_controller = {
        "name": "weave-npc",
        "image": f"{version['repository']}/weave-npc:{version['version']}",
        "env": ENVIRONMENT,
        "resources": {"requests": {"cpu": "50m", "memory": "50Mi"}, "limits": {"memory": "300Mi"}},
        "securityContext": {"privileged": True},
        "volumeMounts": [{"name": "xtables-lock", "mountPath": "/run/xtables.lock"}],
    }
    pod: dict[str, Any] = {
        "hostNetwork": True,
        # As root in the node's process namespace, the pod could write to all files of the node (CVE-2020-26278).
        "hostPID": False,
        "dnsPolicy": "ClusterFirstWithHostNet",
        "priorityClassName": "system-node-critical",
        "serviceAccountName": NAME,
        "tolerations": TOLERATIONS,
        "containers": [router, policy_controller],
        "volumes": [
            *({"name": name, "hostPath": {"path": path}} for name, (path, _) in (ROUTER_PATHS | INIT_PATHS).items()),
            {"name": "xtables-lock", "hostPath": {"path": "/run/xtables.lock", "type": "FileOrCreate"}},
        ],
    }
    init = {key: value for key, value in router.items() if key != "readinessProbe"}
    command = ["/home/weave/init.sh"] if version["init"] else ["/bin/sh", "-ec", INSTALL_PLUGIN]
    pod["initContainers"] = [init | {"name": "weave-init", "command": command, "volumeMounts": _mounts(INIT_PATHS)}]
    return pod


def _mounts(paths: Mapping[str, tuple[str, str]]) -> list[dict[str, Any]]:
    mounts = [
        {"name": name, "mountPath": inside, **({"readOnly": True} if name in READ_ONLY else {})}
        for name, (_, inside) in paths.items()
    ]
    return [*mounts, {"name": "xtables-lock", "mountPath": "/run/xtables.lock"}]


def _router(version: dict[str, Any], settings: PlatformSettings, nodes: KubernetesSettings) -> dict[str, Any]:
    return {
        "name": "weave",
        "image": f"{version['repository']}/weave-kube:{version['version']}",
        "command": ["/home/weave/launch.sh"],
        "env": [
            *ENVIRONMENT,
            {"name": "IPALLOC_RANGE", "value": str(nodes.pod_subnet)},
            {"name": "WEAVE_PASSWORD", "valueFrom": {"secretKeyRef": {"name": PASSWORD, "key": "password"}}},
            # The init container has installed the plugin.
            {"name": "INIT_CONTAINER", "value": "true"},
            # A Service with externalTrafficPolicy: Local needs it.
            {"name": "NO_MASQ_LOCAL", "value": "1"},
            # Disable requests to the vendor's server for new versions.
            {"name": "CHECKPOINT_DISABLE", "value": "1"},
            # The fast datapath needs Open vSwitch in the kernel. Without it, packets pass through the router's process.
            *([] if settings.weave_fast_datapath else [{"name": "WEAVE_NO_FASTDP", "value": "1"}]),
        ],
        "readinessProbe": {"httpGet": {"host": "127.0.0.1", "path": "/status", "port": 6784}},
        "resources": {"requests": {"cpu": "50m", "memory": "100Mi"}, "limits": {"memory": "500Mi"}},
        "securityContext": {"privileged": True},
        "volumeMounts": _mounts(ROUTER_PATHS),
    }
