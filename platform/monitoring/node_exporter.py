"""node_exporter: what the machines themselves have left, of processors, memory and disks."""

from __future__ import annotations

import pulumi_kubernetes as kubernetes
from mlplatform.k8s.namespace import CONTAINER_SECURITY, POD, namespace
from mlplatform.monitoring.scraping import IMAGES, from_prometheus, grant_pod_discovery, labels, metadata

from infra.cluster import Cluster
from infra.registry import ContainerRegistry

NAMESPACE = "mlplatform-nodes"
"""Its own: a pod that sees its machine's files keeps no Pod Security level."""
NAME = "node-exporter"
PORT = 9100
COLLECTORS = ("cpu", "diskstats", "filesystem", "loadavg", "meminfo", "stat", "time", "uname", "vmstat")
NO_DISKS = r"^/(dev|proc|sys|run|var/lib/(containerd|containers|docker|kubelet)/.+)($|/)"
"""Mount points that belong to pods, or to no disk."""
NO_DISK_TYPES = (
    "^(autofs|binfmt_misc|bpf|cgroup2?|configfs|debugfs|devpts|devtmpfs|fusectl|hugetlbfs|iso9660|mqueue|nsfs|overlay|"
    "proc|procfs|pstore|rpc_pipefs|securityfs|selinuxfs|squashfs|erofs|sysfs|tmpfs|tracefs)$"
)


def node_exporter(cluster: Cluster, registry: ContainerRegistry) -> None:
    """One on each machine, which may change nothing. Its network is a pod's, so that Prometheus alone reaches it."""
    room = namespace(NAMESPACE, cluster, registry, "privileged")
    grant_pod_discovery(room)
    container = {
        "name": NAME,
        "image": IMAGES[NAME],
        "args": [
            f"--web.listen-address=:{PORT}",
            "--path.procfs=/host/proc",
            "--path.sysfs=/host/sys",
            "--path.rootfs=/host/root",
            "--collector.disable-defaults",
            *(f"--collector.{collector}" for collector in COLLECTORS),
            f"--collector.filesystem.mount-points-exclude={NO_DISKS}",
            f"--collector.filesystem.fs-types-exclude={NO_DISK_TYPES}",
        ],
        "ports": [{"name": "http", "containerPort": PORT}],
        "readinessProbe": {"httpGet": {"path": "/", "port": PORT}, "periodSeconds": 10},
        "livenessProbe": {"httpGet": {"path": "/", "port": PORT}, "periodSeconds": 30, "timeoutSeconds": 5},
        "resources": {"requests": {"cpu": "10m", "memory": "24Mi"}, "limits": {"cpu": "200m", "memory": "64Mi"}},
        "securityContext": CONTAINER_SECURITY,
        "volumeMounts": [
            {"name": "proc", "mountPath": "/host/proc", "readOnly": True},
            {"name": "sys", "mountPath": "/host/sys", "readOnly": True},
            {"name": "root", "mountPath": "/host/root", "readOnly": True},
        ],
    }
    paths = {"proc": "/proc", "sys": "/sys", "root": "/"}
    pod = {
        **POD,
        "tolerations": [{"operator": "Exists"}],
        "terminationGracePeriodSeconds": 2,
        "containers": [container],
        "volumes": [{"name": name, "hostPath": {"path": path}} for name, path in paths.items()],
    }
    # On a dead node it does not come up, and nothing has to wait for that.
    unawaited = {"annotations": {"pulumi.com/skipAwait": "true"}}
    kubernetes.apps.v1.DaemonSet(
        NAME,
        metadata=metadata(NAME, NAMESPACE) | unawaited,
        spec={
            "selector": {"matchLabels": labels(NAME)},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "100%"}},
            "template": {"metadata": {"labels": labels(NAME)}, "spec": pod},
        },
        opts=room.options(room.allow(NAME, labels(NAME), ingress=[from_prometheus(PORT)])),
    )
