"""The audit log behind the door: its program, its volume and its Deployment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import mlplatform.audit_log as program
import pulumi
import pulumi_kubernetes as kubernetes
from mlplatform.door.start_page import KEY, PROGRAMS
from mlplatform.door.start_page import NAME as START_PAGE
from mlplatform.images.image import Image
from mlplatform.k8s.deployment import deployment, service
from mlplatform.k8s.namespace import Namespace, tcp_ports
from mlplatform.k8s.pod import Container, HttpGet, Pod, Resources, SecretKey, server_probes
from mlplatform.k8s.program_files import program_files
from mlplatform.k8s.pvc import persistent_volume_claim
from mlplatform.k8s.volumes import Claim, ConfigMapFiles, Mount

NAMESPACE = "mlplatform-door"
NAME = "audit"
PORT = 8001
MODULE = "mlplatform.audit_log"
DATA = "/var/lib/audit"
SIZE_GB = 1
LINES = "/var/lib/door-lines"
LINES_BYTES = 4_000_000
"""Size at which a file of lines is closed. While the audit log is away, 12 closed files wait."""
LINES_VOLUME = "100Mi"
PODS = {"app.kubernetes.io/name": NAME}
_PROGRAMS_MOUNT = Mount("programs", f"{PROGRAMS}/{MODULE.replace('.', '/')}", read_only=True)


def audit_programs(namespace: Namespace) -> kubernetes.core.v1.ConfigMap:
    """Create the ConfigMap with the programs of the audit log and of its sender."""
    metadata = namespace.metadata(NAME, PODS)
    return kubernetes.core.v1.ConfigMap(NAME, metadata=metadata, data=program_files(program), opts=namespace.options())


def line_sender(image: pulumi.Input[str]) -> Container:
    """Return the container beside nginx that sends its lines; its pod has the volumes `lines` and `programs`."""
    return Container(
        "line-sender",
        image,
        Resources(cpu=("10m", "200m"), memory=("24Mi", "64Mi"), ephemeral_storage=("1Mi", "10Mi")),
        command=["python3", "-m", f"{MODULE}.line_sender"],
        args=[f"http://{NAME}.{NAMESPACE}.svc:{PORT}"],
        environment={"PYTHONPATH": PROGRAMS, "LINES_FOLDER": LINES, "DOOR_KEY": SecretKey(START_PAGE, KEY)},
        mounts=[_PROGRAMS_MOUNT, Mount("lines", LINES)],
    )


def audit_service(
    namespace: Namespace,
    image: Image,
    programs: kubernetes.core.v1.ConfigMap,
    days: int,
    callers: Sequence[Mapping[str, str]],
) -> kubernetes.core.v1.Service:
    """Create the audit log, to which only pods with the labels of `callers` connect, and return its Service."""
    peers = [{"podSelector": {"matchLabels": dict(labels)}} for labels in callers]
    policy = namespace.allow(NAME, PODS, ingress=[{"from": peers, **tcp_ports(PORT)}])
    claim = persistent_volume_claim(NAME, namespace, PODS, SIZE_GB)
    server = Container(
        NAME,
        image.reference,
        Resources(cpu=("10m", "500m"), memory=("32Mi", "128Mi"), ephemeral_storage=("10Mi", "100Mi")),
        command=["python3", "-m", f"{MODULE}.server"],
        args=["0.0.0.0", str(PORT)],
        environment={
            "PYTHONPATH": PROGRAMS,
            "AUDIT_FOLDER": DATA,
            "AUDIT_DAYS": str(days),
            "DOOR_KEY": SecretKey(START_PAGE, KEY),
        },
        ports={"http": PORT},
        probes=server_probes(HttpGet("/health", PORT)),
        mounts=[_PROGRAMS_MOUNT, Mount("data", DATA)],
    )
    volumes = {"programs": ConfigMapFiles(NAME), "data": Claim(NAME)}
    pod = Pod([server], volumes=volumes, grace_seconds=5)
    created = deployment(NAME, namespace, PODS, pod, policy, claim, settings=[programs])
    return service(NAME, namespace, PODS, PODS, {"http": (PORT, PORT)}, created)
