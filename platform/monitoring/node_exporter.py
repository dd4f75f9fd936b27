"""node_exporter: metrics of the processors, memory and disks of each node."""

from __future__ import annotations

import pulumi_kubernetes as kubernetes
from mlplatform.k8s.namespace import namespace
from mlplatform.k8s.pod import Container, HttpGet, Pod, Probe, Probes, Resources
from mlplatform.k8s.volumes import HostPath, Mount
from mlplatform.k8s.waiting import SKIP_AWAIT
from mlplatform.monitoring.scraping import IMAGES, from_prometheus, grant_pod_discovery, labels, metadata

from infra.cluster import Cluster
from infra.registry import ContainerRegistry

NAMESPACE = "mlplatform-nodes"
"""A separate namespace, because a pod that mounts the node's files needs the level `privileged`."""
NAME = "node-exporter"
PORT = 9100
COLLECTORS = ("cpu", "diskstats", "filesystem", "loadavg", "meminfo", "stat", "time", "uname", "vmstat")
NO_DISKS = r"^/(dev|proc|sys|run|var/lib/(containerd|containers|docker|kubelet)/.+)($|/)"
"""Mount points of pods, and mount points without a disk."""
NO_DISK_TYPES = (
    "^(autofs|binfmt_misc|bpf|cgroup2?|configfs|debugfs|devpts|devtmpfs|fusectl|hugetlbfs|iso9660|mqueue|nsfs|overlay|"
    "proc|procfs|pstore|rpc_pipefs|securityfs|selinuxfs|squashfs|erofs|sysfs|tmpfs|tracefs)$"
)


def node_exporter(cluster: Cluster, registry: ContainerRegistry) -> None:
    """Create a read-only pod on each node. It uses the pod network, so that a policy can admit Prometheus alone."""
    nodes = namespace(NAMESPACE, cluster, registry, "privileged")
    grant_pod_discovery(nodes)
    root = HttpGet("/", PORT)
    folders = {"proc": "/proc", "sys": "/sys", "root": "/"}
    exporter = Container(
        NAME,
        IMAGES[NAME],
        Resources(cpu=("10m", "200m"), memory=("24Mi", "64Mi")),
        args=[
            f"--web.listen-address=:{PORT}",
            "--path.procfs=/host/proc",
            "--path.sysfs=/host/sys",
            "--path.rootfs=/host/root",
            "--collector.disable-defaults",
            *(f"--collector.{collector}" for collector in COLLECTORS),
            f"--collector.filesystem.mount-points-exclude={NO_DISKS}",
            f"--collector.filesystem.fs-types-exclude={NO_DISK_TYPES}",
        ],
        ports={"http": PORT},
        probes=Probes(
            readiness=Probe(root, period=10),
            liveness=Probe(root, period=30, timeout=5),
        ),
        mounts=[Mount(name, f"/host/{name}", read_only=True) for name in folders],
    )
    pod = Pod(
        [exporter],
        volumes={name: HostPath(path) for name, path in folders.items()},
        grace_seconds=2,
        tolerations=[{"operator": "Exists"}],
    )
    kubernetes.apps.v1.DaemonSet(
        NAME,
        metadata=metadata(NAME, NAMESPACE) | {"annotations": SKIP_AWAIT},
        spec={
            "selector": {"matchLabels": labels(NAME)},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "100%"}},
            "template": {"metadata": {"labels": labels(NAME)}, "spec": pod.manifest()},
        },
        opts=nodes.options(nodes.allow(NAME, labels(NAME), ingress=[from_prometheus(PORT)])),
    )
