"""SeaweedFS on three machines: an S3 store that keeps two copies of each object."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_kubernetes as kubernetes
from mlplatform.k8s.deployment import service
from mlplatform.k8s.namespace import DNS, Namespace, Rule, tcp_ports
from mlplatform.k8s.pod import Container, EnvironmentValue, HttpGet, Pod, PodField, Probe, Probes, Resources, SecretKey
from mlplatform.k8s.stateful_set import DATA, TOLERATIONS, headless_service, stateful_set
from mlplatform.k8s.volumes import ConfigMapFiles, EmptyDir, Mount, SecretFiles
from mlplatform.stores.postgresql import FILES, MEMBERS, PostgreSql

from infra.secrets import RandomPassword
from settings.paths import VERSIONS

NAME = "objects"
S3_SERVICE = "objects-s3"
IMAGE = f"ghcr.io/chrislusf/seaweedfs:{VERSIONS['stores']['seaweedfs']}"
LABELS = {"app.kubernetes.io/name": NAME}
MASTER_PORT, FILER_PORT, S3_PORT = 9333, 8888, 8333
ACCESS_KEY = "mlflow"
TWO_COPIES = "001"
"""SeaweedFS's notation of one more copy on another server."""
KEYS = "s3.json"
DATABASE_PASSWORD = "WEED_POSTGRES2_PASSWORD"
"""Variable from which SeaweedFS reads `password` of the section `postgres2`."""


@dataclass(frozen=True)
class ReplicatedObjects:
    """An S3 store: its address, its keys of which `secret_key` is secret, and resources that clients wait for."""

    endpoint_url: str
    access_key: str
    secret_key: pulumi.Output[str]
    resources: Sequence[pulumi.Resource]


def seaweedfs(
    namespace: Namespace, database: PostgreSql, clients: Sequence[Rule], size_gb: int, options: pulumi.ResourceOptions
) -> ReplicatedObjects:
    """Create the members, and the Service of the S3 store.

    Args:
        namespace: the namespace of the stores.
        database: the database server with the names of objects.
        clients: peers of network rules: the pods that read and write objects.
        size_gb: size of the volume of each member in GiB.
        options: options of the generated key.
    """
    key = RandomPassword("objects-secret-key", options).value
    content = {KEYS: key.apply(_identities), DATABASE_PASSWORD: database.passwords[NAME]}
    metadata = namespace.metadata(NAME, LABELS)
    secret = kubernetes.core.v1.Secret(NAME, metadata=metadata, string_data=content, opts=namespace.options())
    files = {name: (FILES / name).read_text() for name in ("master.toml", "filer.toml")}
    config = kubernetes.core.v1.ConfigMap(NAME, metadata=metadata, data=files, opts=namespace.options())
    members = {"podSelector": {"matchLabels": LABELS}}
    policy = namespace.allow(
        NAME,
        LABELS,
        ingress=[{"from": list(clients), **tcp_ports(S3_PORT)}, {"from": [members]}],
        egress=[DNS, {"to": [members]}, database.rule({})],
    )
    headless = headless_service(NAME, namespace, LABELS, LABELS)
    servers = stateful_set(
        NAME,
        namespace,
        LABELS,
        _pod(f"{NAME}.{namespace.name}.svc"),
        *(policy, headless, *database.resources),
        replicas=MEMBERS,
        size_gb=size_gb,
        settings=[secret, config],
    )
    gateway = service(S3_SERVICE, namespace, LABELS, LABELS, {"s3": (S3_PORT, S3_PORT)}, servers)
    return ReplicatedObjects(f"http://{S3_SERVICE}.{namespace.name}.svc:{S3_PORT}", ACCESS_KEY, key, [servers, gateway])


def _pod(domain: str) -> Pod:
    """Return the pod of a member: a master with a volume server, and a filer with the S3 gateway."""
    own: dict[str, EnvironmentValue] = {"POD_NAME": PodField("metadata.name"), "HOME": "/tmp"}
    masters = ",".join(f"{NAME}-{number}.{domain}:{MASTER_PORT}" for number in range(MEMBERS))
    address = [f"-ip=$(POD_NAME).{domain}", "-ip.bind=0.0.0.0"]
    mounts = [Mount("settings", "/etc/seaweedfs", read_only=True), Mount("tmp", "/tmp")]
    volumes = Container(
        "volumes",
        IMAGE,
        Resources(cpu=("50m", "1"), memory=("96Mi", "512Mi"), ephemeral_storage=("10Mi", "500Mi")),
        command=[
            *("/usr/bin/weed", "-logtostderr=true", "server", *address, "-dir=/data"),
            *(f"-master.peers={masters}", f"-master.defaultReplication={TWO_COPIES}"),
            *("-master.volumePreallocate=false", "-master.volumeSizeLimitMB=1024", "-master.telemetry=false"),
            # Without a number, the disk limits the volumes.
            *("-volume.max=0", "-volume.preStopSeconds=1"),
        ],
        environment=own,
        probes=Probes(liveness=Probe(HttpGet("/cluster/status", MASTER_PORT), period=20, timeout=5, failures=6)),
        mounts=[Mount(DATA, "/data"), *mounts],
    )
    gateway = Container(
        "gateway",
        IMAGE,
        Resources(cpu=("50m", "1"), memory=("96Mi", "512Mi"), ephemeral_storage=("10Mi", "500Mi")),
        command=[
            *("/usr/bin/weed", "-logtostderr=true", "filer", *address, f"-master={masters}"),
            *(f"-defaultReplicaPlacement={TWO_COPIES}", "-s3", f"-s3.port={S3_PORT}"),
            *(f"-s3.config=/etc/keys/{KEYS}", "-s3.iam=false", "-s3.port.iceberg=0", "-s3.port.lance=0"),
        ],
        environment={**own, DATABASE_PASSWORD: SecretKey(NAME, DATABASE_PASSWORD)},
        ports={"s3": S3_PORT},
        probes=Probes(
            readiness=Probe(HttpGet("/status", S3_PORT), period=2, timeout=5),
            # The listing needs PostgreSQL: a gateway whose connections lead to a dead leader starts again.
            liveness=Probe(HttpGet("/", FILER_PORT), period=10, timeout=5, failures=6),
        ),
        mounts=[*mounts, Mount("keys", "/etc/keys", read_only=True)],
    )
    return Pod(
        [volumes, gateway],
        volumes={
            "settings": ConfigMapFiles(NAME),
            "keys": SecretFiles(NAME, {KEYS: KEYS}),
            "tmp": EmptyDir("500Mi"),
        },
        tolerations=TOLERATIONS,
    )


def _identities(key: str) -> str:
    """Return SeaweedFS's list of users: MLflow alone, which creates its bucket."""
    credentials = [{"accessKey": ACCESS_KEY, "secretKey": key}]
    return json.dumps({"identities": [{"name": ACCESS_KEY, "credentials": credentials, "actions": ["Admin"]}]})
