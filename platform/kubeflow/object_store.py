"""The object store of Kubeflow Pipelines: SeaweedFS in a pod with a volume, or a bucket of somebody else's."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

import pulumi
from mlplatform.k8s.pvc import persistent_volume_claim
from mlplatform.kubeflow.deployment_factory import DeploymentFactory
from mlplatform.kubeflow.kubeflow_images import IMAGES

from infra.secrets import RandomPassword
from settings.platform import KubeflowSettings

NAME = "seaweedfs"
PORT, S3_PORT = 9000, 8333
"""Of the Service, and of the pod."""
SECRET = "mlpipeline-minio-artifact"
"""By this name the driver and the launcher of each step look for the keys, where nobody tells them otherwise."""
BUCKET = "mlpipeline"
REGION = "us-east-1"


@dataclass(frozen=True)
class Objects:
    """A bucket, and where it is. The secret `mlpipeline-minio-artifact` has `accesskey` and `secretkey`."""

    host: str
    port: int
    bucket: str
    secure: bool
    region: str
    resources: Sequence[pulumi.Resource] = field(default_factory=tuple)

    @property
    def launcher(self) -> dict[str, str]:
        """What the ConfigMap `kfp-launcher` tells the launcher of each step."""
        keys = {"secretName": SECRET, "accessKeyKey": "accesskey", "secretKeyKey": "secretkey"}
        provider = {
            "endpoint": f"{self.host}:{self.port}",
            "region": self.region,
            "disableSSL": not self.secure,
            "credentials": {"fromEnv": False, "secretRef": keys},
        }
        return {
            "defaultPipelineRoot": f"minio://{self.bucket}/v2/artifacts",
            "providers": json.dumps({"minio": {"default": provider}}),
        }


def objects(part: DeploymentFactory, settings: KubeflowSettings) -> Objects:
    """The bucket of the settings; without one, a store of its own with a volume of the default class."""
    if (other := settings.objects) is None:
        return _own(part, settings.size_gb)
    key = pulumi.Output.secret(other.secret_key.get_secret_value())
    keys = part.secret(SECRET, {"accesskey": other.access_key, "secretkey": key})
    return Objects(other.host, other.port, other.bucket, other.secure, other.region, [keys])


def _own(part: DeploymentFactory, size_gb: int) -> Objects:
    access, key = (
        RandomPassword("kubeflow-objects-access-key").value,
        RandomPassword("kubeflow-objects-secret-key").value,
    )
    secret = part.secret(
        SECRET,
        {"accesskey": access, "secretkey": key, "s3.json": pulumi.Output.all(access, key).apply(_identities)},
    )
    volume = persistent_volume_claim(NAME, part.room, part.labels(NAME), size_gb)
    health = {"httpGet": {"path": "/status", "port": S3_PORT}, "timeoutSeconds": 5}
    container = {
        "name": NAME,
        "image": IMAGES["objects"],
        "command": [
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
        "env": [{"name": "HOME", "value": "/tmp"}],
        "ports": [{"name": "s3", "containerPort": S3_PORT}],
        "startupProbe": health | {"periodSeconds": 1, "failureThreshold": 300},
        "readinessProbe": health | {"periodSeconds": 5},
        "livenessProbe": health | {"periodSeconds": 20, "failureThreshold": 6},
        "resources": {
            "requests": {"cpu": "50m", "memory": "128Mi", "ephemeral-storage": "50Mi"},
            "limits": {"cpu": "1", "memory": "768Mi", "ephemeral-storage": "1Gi"},
        },
        "volumeMounts": [
            {"name": "data", "mountPath": "/data"},
            {"name": "settings", "mountPath": "/etc/seaweedfs", "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},
        ],
    }
    deployment = part.deployment(
        NAME,
        [container],
        volume,
        part.admit(NAME, S3_PORT),
        settings=[secret],
        volumes={
            "data": {"persistentVolumeClaim": {"claimName": NAME}},
            "settings": {"secret": {"secretName": SECRET, "items": [{"key": "s3.json", "path": "s3.json"}]}},
            "tmp": {"emptyDir": {"sizeLimit": "500Mi"}},
        },
    )
    service = part.service(NAME, NAME, {"s3": (PORT, S3_PORT)})
    host = f"{NAME}.{part.room.name}.svc"
    return Objects(host, PORT, BUCKET, secure=False, region=REGION, resources=[service, deployment])


def _identities(keys: list[str]) -> str:
    """The one who may use the store."""
    access, key = keys
    identity = {
        "name": "kubeflow",
        "credentials": [{"accessKey": access, "secretKey": key}],
        "actions": ["Admin", "Read", "List", "Tagging", "Write"],
    }
    return json.dumps({"identities": [identity]})
