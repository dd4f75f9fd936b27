"""The audit log behind the door: its program, its volume and its Deployment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import mlplatform.audit_log as program
import pulumi_kubernetes as kubernetes
from mlplatform.door.start_page import KEY, PROGRAMS
from mlplatform.door.start_page import NAME as START_PAGE
from mlplatform.images.image import Image
from mlplatform.k8s.deployment import deployment
from mlplatform.k8s.namespace import Namespace
from mlplatform.k8s.pod import Container, HttpGet, Pod, Resources, SecretKey, server_probes
from mlplatform.k8s.program_files import program_files
from mlplatform.k8s.pvc import persistent_volume_claim
from mlplatform.k8s.volumes import Claim, ConfigMapFiles, Mount
from mlplatform.k8s.waiting import SKIP_AWAIT

NAMESPACE = "mlplatform-door"
NAME = "audit"
PORT, LINES_PORT = 8001, 5514
"""Ports of HTTP, and of syslog over UDP."""
MODULE = "mlplatform.audit_log"
DATA = "/var/lib/audit"
SIZE_GB = 1
PODS = {"app.kubernetes.io/name": NAME}


def audit_service(
    namespace: Namespace, image: Image, days: int, callers: Sequence[Mapping[str, str]]
) -> kubernetes.core.v1.Service:
    """Create the audit log, to which only pods with the labels of `callers` connect, and return its Service."""
    metadata = {"name": NAME, "namespace": namespace.name, "labels": PODS}
    sources = kubernetes.core.v1.ConfigMap(
        NAME,
        metadata=metadata,
        data=program_files(program),
        opts=namespace.options(),
    )
    ports = [{"protocol": "TCP", "port": PORT}, {"protocol": "UDP", "port": LINES_PORT}]
    peers = [{"podSelector": {"matchLabels": dict(labels)}} for labels in callers]
    policy = namespace.allow(NAME, PODS, ingress=[{"from": peers, "ports": ports}])
    claim = persistent_volume_claim(NAME, namespace, PODS, SIZE_GB)
    server = Container(
        NAME,
        image.reference,
        Resources(cpu=("10m", "500m"), memory=("32Mi", "128Mi"), ephemeral_storage=("10Mi", "100Mi")),
        command=["python3", "-m", f"{MODULE}.server"],
        args=["0.0.0.0", str(PORT), str(LINES_PORT)],
        environment={
            "PYTHONPATH": PROGRAMS,
            "AUDIT_FOLDER": DATA,
            "AUDIT_DAYS": str(days),
            "DOOR_KEY": SecretKey(START_PAGE, KEY),
        },
        ports={"http": PORT},
        probes=server_probes(HttpGet("/health", PORT)),
        mounts=[
            Mount("programs", f"{PROGRAMS}/{MODULE.replace('.', '/')}", read_only=True),
            Mount("data", DATA),
        ],
    )
    volumes = {"programs": ConfigMapFiles(NAME), "data": Claim(NAME)}
    pod = Pod([server], volumes=volumes, grace_seconds=5)
    created = deployment(NAME, namespace, PODS, pod, policy, claim, settings=[sources])
    return kubernetes.core.v1.Service(
        NAME,
        metadata={**metadata, "annotations": SKIP_AWAIT},
        spec={
            "selector": PODS,
            "ports": [
                {"name": "http", "port": PORT, "targetPort": PORT},
                {"name": "syslog", "port": LINES_PORT, "targetPort": LINES_PORT, "protocol": "UDP"},
            ],
        },
        opts=namespace.options(created),
    )
