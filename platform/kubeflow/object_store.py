"""The object store of Kubeflow Pipelines: the bucket of the settings, or SeaweedFS in a pod with a volume."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_kubernetes as kubernetes
from mlplatform.k8s.pod import Container, HttpGet, Pod, Resources, server_probes
from mlplatform.k8s.pvc import persistent_volume_claim
from mlplatform.k8s.volumes import Claim, EmptyDir, Mount, SecretFiles
from mlplatform.kubeflow.deployment_factory import DeploymentFactory, pod
from mlplatform.kubeflow.kubeflow_images import IMAGES

from infra.secrets import RandomPassword
from settings.platform import KubeflowSettings

NAME = "seaweedfs"
PORT, S3_PORT = 9000, 8333
"""The port of the Service, and that of the pod."""
SECRET = "mlpipeline-minio-artifact"
"""The driver and the launcher of each step read their keys from this Secret by default."""
BUCKET = "mlpipeline"
REGION = "us-east-1"


@dataclass(frozen=True)
class ObjectStore:
    """A bucket; `secret` has its `accesskey` and `secretkey`.

    `in_cluster` is whether this module created its server.
    """

    host: str
    port: int
    bucket: str
    secure: bool
    region: str
    secret: kubernetes.core.v1.Secret
    resources: Sequence[pulumi.Resource]
    in_cluster: bool = False

    @property
    def address(self) -> str:
        """Return `host:port`."""
        return f"{self.host}:{self.port}"

    @property
    def launcher(self) -> dict[str, str]:
        """Return the content of the ConfigMap `kfp-launcher`, which the launcher of each step reads."""
        keys = {"secretName": SECRET, "accessKeyKey": "accesskey", "secretKeyKey": "secretkey"}
        provider = {
            "endpoint": self.address,
            "region": self.region,
            "disableSSL": not self.secure,
            "credentials": {"fromEnv": False, "secretRef": keys},
        }
        return {
            "defaultPipelineRoot": f"minio://{self.bucket}/v2/artifacts",
            "providers": json.dumps({"minio": {"default": provider}}),
        }


def object_store(factory: DeploymentFactory, settings: KubeflowSettings) -> ObjectStore:
    """Use the bucket of the settings, or create a store with a volume of the default class."""
    if (external := settings.objects) is None:
        return _create_object_store(factory, settings.size_gb)
    key = pulumi.Output.secret(external.secret_key.get_secret_value())
    keys = factory.secret(SECRET, {"accesskey": external.access_key, "secretkey": key})
    return ObjectStore(external.host, external.port, external.bucket, external.secure, external.region, keys, [keys])


def _create_object_store(factory: DeploymentFactory, size_gb: int) -> ObjectStore:
    access = RandomPassword("kubeflow-objects-access-key").value
    key = RandomPassword("kubeflow-objects-secret-key").value
    identities = pulumi.Output.all(access, key).apply(lambda known: _identities(*known))
    secret = factory.secret(SECRET, {"accesskey": access, "secretkey": key, "s3.json": identities})
    volume = persistent_volume_claim(NAME, factory.namespace, factory.labels(NAME), size_gb)
    deployment = factory.deployment(
        NAME, _pod(), volume, factory.allow_ingress(NAME, S3_PORT, steps=[S3_PORT]), settings=[secret]
    )
    service = factory.service(NAME, NAME, {"s3": (PORT, S3_PORT)})
    host = f"{NAME}.{factory.namespace.name}.svc"
    return ObjectStore(host, PORT, BUCKET, False, REGION, secret, [service, deployment], in_cluster=True)


def _pod() -> Pod:
    server = Container(
        NAME,
        IMAGES["objects"],
        Resources(cpu=("50m", "1"), memory=("128Mi", "768Mi"), ephemeral_storage=("50Mi", "1Gi")),
        command=[
            "/usr/bin/weed",
            "-logtostderr=true",
            "server",
            "-dir=/data",
            "-ip=127.0.0.1",
            "-ip.bind=0.0.0.0",
            "-filer",
            "-s3",
            "-s3.config=/etc/seaweedfs/s3.json",
            "-master.volumePreallocate=false",
            "-master.volumeSizeLimitMB=1024",
            "-volume.max=0",
        ],
        environment={"HOME": "/tmp"},
        ports={"s3": S3_PORT},
        probes=server_probes(HttpGet("/status", S3_PORT), timeout=5),
        mounts=[
            Mount("data", "/data"),
            Mount("settings", "/etc/seaweedfs", read_only=True),
            Mount("tmp", "/tmp"),
        ],
    )
    settings = SecretFiles(SECRET, {"s3.json": "s3.json"})
    return pod([server], {"data": Claim(NAME), "settings": settings, "tmp": EmptyDir("500Mi")})


def _identities(access: str, key: str) -> str:
    """Return SeaweedFS's list of users: Kubeflow Pipelines alone."""
    identity = {
        "name": "kubeflow",
        "credentials": [{"accessKey": access, "secretKey": key}],
        "actions": ["Admin", "Read", "List", "Tagging", "Write"],
    }
    return json.dumps({"identities": [identity]})
