"""The pod network: Weave Net, encrypted, which also enforces NetworkPolicies; or Flannel, which does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes
from mlplatform.k8s.rbac import service_account

from infra.cluster import Cluster
from infra.secrets import RandomPassword
from settings.infra import KubernetesSettings
from settings.paths import VERSIONS
from settings.platform import PlatformSettings


@dataclass(frozen=True)
class PodNetwork:
    """What the stack says of its network, and what nodes wait for to become Ready."""

    name: str
    encrypted: bool
    network_policies: bool
    resources: Sequence[pulumi.Resource]


def pod_network(settings: PlatformSettings, nodes: KubernetesSettings, cluster: Cluster) -> PodNetwork:
    """The network of the settings. It starts on each node that joins."""
    if settings.network == "flannel":
        pulumi.log.warn(
            "platform:network: flannel enforces no NetworkPolicy: every pod can reach every other one. Weave does"
        )
        return PodNetwork("flannel", encrypted=False, network_policies=False, resources=_flannel(nodes, cluster))
    return PodNetwork("weave", encrypted=True, network_policies=True, resources=_weave(settings, nodes, cluster))


def _weave(settings: PlatformSettings, nodes: KubernetesSettings, cluster: Cluster) -> list[pulumi.Resource]:
    version = VERSIONS["weave"]["bundle" if nodes.packages == "bundle" else "upstream"]
    labels = {"name": "weave-net"}
    account = service_account("weave-net", "kube-system", cluster, everywhere=_WEAVE_READS, at_home=_WEAVE_WRITES)
    secret = kubernetes.core.v1.Secret(
        "weave-password",
        metadata={"name": "weave-password", "namespace": "kube-system", "labels": labels},
        string_data={"password": RandomPassword("weave-password").value},
        opts=cluster.options(),
    )
    node_name = {"name": "HOSTNAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}
    # The distributions of the nodes keep their rules there, whoever comes first.
    backend = {"name": "IPTABLES_BACKEND", "value": "nft"}
    host_folders = {"opt": "/opt", "home": "/home", "etc": "/etc", "dbus": "/var/lib/dbus"}
    volumes: dict[str, tuple[str, str]] = {
        "state": ("/var/lib/weave", "/weavedb"),
        "lib-modules": ("/lib/modules", "/lib/modules"),
        **{name: (path, f"/host{path}") for name, path in host_folders.items()},
    }
    router = {
        "name": "weave",
        "image": f"{version['repository']}/weave-kube:{version['version']}",
        "command": ["/home/weave/launch.sh"],
        "env": [
            node_name,
            backend,
            {"name": "IPALLOC_RANGE", "value": str(nodes.pod_subnet)},
            {"name": "WEAVE_PASSWORD", "valueFrom": {"secretKeyRef": {"name": "weave-password", "key": "password"}}},
            {"name": "CHECKPOINT_DISABLE", "value": "1"},  # it would call home for news of its version
            # Without a kernel that has Open vSwitch, packets go through the router's process.
            *([] if settings.weave_fast_datapath else [{"name": "WEAVE_NO_FASTDP", "value": "1"}]),
        ],
        "readinessProbe": {"httpGet": {"host": "127.0.0.1", "path": "/status", "port": 6784}},
        "resources": {"requests": {"cpu": "50m", "memory": "100Mi"}, "limits": {"memory": "500Mi"}},
        "securityContext": {"privileged": True},
        "volumeMounts": [
            *({"name": name, "mountPath": inside} for name, (_, inside) in volumes.items()),
            {"name": "xtables-lock", "mountPath": "/run/xtables.lock"},
        ],
    }
    policies = {
        "name": "weave-npc",
        "image": f"{version['repository']}/weave-npc:{version['version']}",
        "env": [node_name, backend],
        "resources": {"requests": {"cpu": "50m", "memory": "50Mi"}, "limits": {"memory": "300Mi"}},
        "securityContext": {"privileged": True},
        "volumeMounts": [{"name": "xtables-lock", "mountPath": "/run/xtables.lock"}],
    }
    pod: dict[str, Any] = {
        "hostNetwork": True,
        "hostPID": True,
        "dnsPolicy": "ClusterFirstWithHostNet",
        "priorityClassName": "system-node-critical",
        "serviceAccountName": "weave-net",
        "tolerations": _EVERYWHERE,
        "containers": [router, policies],
        "volumes": [
            *({"name": name, "hostPath": {"path": outside}} for name, (outside, _) in volumes.items()),
            {"name": "xtables-lock", "hostPath": {"path": "/run/xtables.lock", "type": "FileOrCreate"}},
        ],
    }
    if version["init"]:
        pod["initContainers"] = [router | {"name": "weave-init", "command": ["/home/weave/init.sh"]}]
        del pod["initContainers"][0]["readinessProbe"]
    return [_daemon_set("weave-net", "kube-system", labels, pod, cluster, *account, secret)]


def _flannel(nodes: KubernetesSettings, cluster: Cluster) -> list[pulumi.Resource]:
    version = VERSIONS["flannel"]
    labels = {"app": "flannel"}
    namespace = kubernetes.core.v1.Namespace(
        "kube-flannel",
        # Making links and rules on the node takes privileges.
        metadata={"name": "kube-flannel", "labels": {"pod-security.kubernetes.io/enforce": "privileged"}},
        opts=cluster.options(),
    )
    account = service_account("flannel", "kube-flannel", cluster, namespace, everywhere=_FLANNEL_READS)
    settings = kubernetes.core.v1.ConfigMap(
        "flannel",
        metadata={"name": "flannel", "namespace": "kube-flannel", "labels": labels},
        data={
            "cni-conf.json": pulumi.Output.json_dumps(
                {
                    "name": "cbr0",
                    "cniVersion": "0.3.1",
                    "plugins": [
                        {"type": "flannel", "delegate": {"hairpinMode": True, "isDefaultGateway": True}},
                        {"type": "portmap", "capabilities": {"portMappings": True}},
                    ],
                }
            ),
            "net-conf.json": pulumi.Output.json_dumps({"Network": str(nodes.pod_subnet), "Backend": {"Type": "vxlan"}}),
        },
        opts=cluster.options(namespace),
    )
    plugin = f"{version['repository']}/flannel-cni-plugin:{version['plugin']}"
    daemon = f"{version['repository']}/flannel:{version['version']}"
    mounts = {"cni-plugin": "/opt/cni/bin", "cni": "/etc/cni/net.d", "run": "/run/flannel"}
    install_plugin = {
        "name": "install-cni-plugin",
        "image": plugin,
        "command": ["cp", "-f", "/flannel", "/opt/cni/bin/flannel"],
        "volumeMounts": [{"name": "cni-plugin", "mountPath": "/opt/cni/bin"}],
    }
    pod = {
        "hostNetwork": True,
        "priorityClassName": "system-node-critical",
        "serviceAccountName": "flannel",
        "tolerations": _EVERYWHERE,
        "initContainers": [
            # The bundle brings it to the nodes with the other plugins.
            *([] if nodes.packages == "bundle" else [install_plugin]),
            {
                "name": "install-cni",
                "image": daemon,
                "command": ["cp", "-f", "/etc/kube-flannel/cni-conf.json", "/etc/cni/net.d/10-flannel.conflist"],
                "volumeMounts": [
                    {"name": "cni", "mountPath": "/etc/cni/net.d"},
                    {"name": "settings", "mountPath": "/etc/kube-flannel"},
                ],
            },
        ],
        "containers": [
            {
                "name": "flannel",
                "image": daemon,
                "command": ["/opt/bin/flanneld"],
                "args": ["--ip-masq", "--kube-subnet-mgr"],
                "env": [
                    {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                    {"name": "POD_NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
                ],
                "resources": {"requests": {"cpu": "50m", "memory": "50Mi"}, "limits": {"memory": "200Mi"}},
                "securityContext": {"privileged": False, "capabilities": {"add": ["NET_ADMIN", "NET_RAW"]}},
                "volumeMounts": [
                    {"name": "run", "mountPath": "/run/flannel"},
                    {"name": "settings", "mountPath": "/etc/kube-flannel"},
                    {"name": "xtables-lock", "mountPath": "/run/xtables.lock"},
                ],
            }
        ],
        "volumes": [
            *({"name": name, "hostPath": {"path": path}} for name, path in mounts.items()),
            {"name": "settings", "configMap": {"name": "flannel"}},
            {"name": "xtables-lock", "hostPath": {"path": "/run/xtables.lock", "type": "FileOrCreate"}},
        ],
    }
    return [_daemon_set("flannel", "kube-flannel", labels, pod, cluster, *account, settings)]


_EVERYWHERE = [{"effect": effect, "operator": "Exists"} for effect in ("NoSchedule", "NoExecute")]
_WEAVE_READS = [
    {"apiGroups": [""], "resources": ["pods", "namespaces", "nodes"], "verbs": ["get", "list", "watch"]},
    {"apiGroups": ["networking.k8s.io"], "resources": ["networkpolicies"], "verbs": ["get", "list", "watch"]},
    {"apiGroups": [""], "resources": ["nodes/status"], "verbs": ["patch", "update"]},
]
_WEAVE_WRITES = [
    {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["weave-net"], "verbs": ["get", "update"]},
    {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create"]},
]
_FLANNEL_READS = [
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]},
    {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "watch"]},
    {"apiGroups": [""], "resources": ["nodes/status"], "verbs": ["patch"]},
]


def _daemon_set(
    name: str,
    namespace: str,
    labels: Mapping[str, str],
    pod: Mapping[str, Any],
    cluster: Cluster,
    *depends_on: pulumi.Resource,
) -> pulumi.Resource:
    return kubernetes.apps.v1.DaemonSet(
        name,
        metadata={
            "name": name,
            "namespace": namespace,
            "labels": labels,
            # Nodes become Ready by it, and the stack waits for them; waiting for pods of a dead node would be endless.
            "annotations": {"pulumi.com/skipAwait": "true"},
        },
        spec={
            "selector": {"matchLabels": labels},
            "updateStrategy": {"type": "RollingUpdate"},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
        opts=cluster.options(*depends_on),
    )
