"""Pod template of the model server: an init container downloads and verifies the model, then the server starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
from mlplatform.k8s.namespace import CONTAINER_SECURITY, POD

from settings.serving import ServingSettings
from workloads.ml.rest_client import ALIAS

CONTAINER_PORT = 5005
HEALTH_PORT = 5006
"""Port of the probes. Slow requests do not delay it."""
GRPC_PORT = 5007
"""Port of gRPC, if the settings have one."""
CHECK_MEMORY_BYTES = 256 << 20
"""Memory of the process that tries a followed model, within the limit of the pod."""
MODELS = "/models"
LOGIN_DIGEST = "mlplatform/login"
"""Annotation of pods with a digest of the registry's login."""
DRAIN_SECONDS = 5
"""Time for which a terminating pod still answers: until then all nodes have removed it from the Service."""
RESOURCES = {
    "requests": {"cpu": "100m", "memory": "256Mi", "ephemeral-storage": "100Mi"},
    "limits": {"cpu": "500m", "memory": "1Gi", "ephemeral-storage": "1Gi"},
}


@dataclass(frozen=True)
class ModelRef:
    """Reference to a version of a registered model.

    Args:
        version: "" without a version: the server then starts without a model.
        sha256: the expected SHA-256; "" accepts the registry's value.
        follow: load each new champion without a new pod.
    """

    name: str
    version: pulumi.Output[str]
    sha256: pulumi.Output[str]
    follow: bool = False


@dataclass(frozen=True)
class ModelRegistryLogin:
    """Login of the model registry: the name of its Secret, and a digest of the content, which replaces the pods."""

    secret: str
    digest: pulumi.Output[str]


def pod_template(
    labels: dict[str, str],
    settings: ServingSettings,
    image: pulumi.Input[str],
    registry: pulumi.Input[str],
    login: ModelRegistryLogin,
    models: Sequence[ModelRef],
    champion: ModelRef | None = None,
) -> pulumi.Output[dict[str, Any]]:
    """Return the pod template of a Deployment.

    Args:
        labels: the labels of the pods.
        settings: limits of the server and number of its processes.
        image: the image of the model server.
        registry: the address of the model registry, an MLflow server, for pods.
        login: the login of the registry.
        models: the versions to serve. Several are followed, all or none.
        champion: the version that a canary compares its predictions with.
    """
    versions = pulumi.Output.all(*(model.version for model in models))
    compared = pulumi.Output.all(*([champion.version, champion.sha256] if champion else []))
    return pulumi.Output.all(
        image=image,
        registry=registry,
        versions=versions,
        sha256=models[0].sha256,
        login=login.digest,
        compared=compared,
    ).apply(lambda values: _template(labels, settings, login.secret, models, values))


def _template(
    labels: dict[str, str], settings: ServingSettings, netrc: str, models: Sequence[ModelRef], values: dict[str, Any]
) -> dict[str, Any]:
    model, version = models[0], values["versions"][0]
    names = {"MODEL_SERVER_MODELS": ",".join(each.name for each in models)}
    name = names if len(models) > 1 else {"MODEL_SERVER_MODEL": model.name}
    from_registry = {
        "MODEL_SERVER_REGISTRY": values["registry"],
        **name,
        "MODEL_SERVER_CACHE": MODELS,
        "NETRC": "/etc/registry/netrc",
    }
    listener = {
        "MODEL_SERVER_HOST": "0.0.0.0",
        "MODEL_SERVER_PORT": str(CONTAINER_PORT),
        "MODEL_SERVER_HEALTH_PORT": str(HEALTH_PORT),
        "MODEL_SERVER_GRPC_PORT": str(GRPC_PORT) if settings.grpc_port else "",
        "MODEL_SERVER_CHECK_MEMORY_BYTES": str(CHECK_MEMORY_BYTES),
        **settings.environment(),
    }
    init_containers: list[dict[str, Any]] = []
    if model.follow:
        selection = from_registry | {"MODEL_SERVER_ALIAS": ALIAS}
    elif version:
        pin = {"MODEL_SERVER_VERSION": version, "MODEL_SERVER_SHA256": values["sha256"]}
        init_containers = [_fetch("fetch", values["image"], from_registry | pin)]
        selection = name | {"MODEL_SERVER_DIRECTORY": f"{MODELS}/{model.name}/{version}"} | pin
        champion, sha256 = values["compared"] or ("", "")
        if champion:
            pin = {"MODEL_SERVER_VERSION": champion, "MODEL_SERVER_SHA256": sha256}
            init_containers.append(_fetch("fetch-champion", values["image"], from_registry | pin))
            selection |= {
                "MODEL_SERVER_CHAMPION_DIRECTORY": f"{MODELS}/{model.name}/{champion}",
                "MODEL_SERVER_CHAMPION_VERSION": champion,
            }
    else:
        selection = name
    ready = "/v2/health/ready" if any(values["versions"]) else "/v2/health/live"
    server = _container("server", values["image"], selection | listener, login=model.follow) | {
        "ports": [
            {"name": "http", "containerPort": CONTAINER_PORT},
            {"name": "health", "containerPort": HEALTH_PORT},
            *([{"name": "grpc", "containerPort": GRPC_PORT}] if settings.grpc_port else []),
        ],
        "startupProbe": _probe("/v2/health/live") | {"periodSeconds": 1, "failureThreshold": 60},
        "readinessProbe": _probe(ready) | {"periodSeconds": 2, "failureThreshold": 2},
        "livenessProbe": _probe("/v2/health/live") | {"periodSeconds": 10, "failureThreshold": 3},
        "lifecycle": {"preStop": {"sleep": {"seconds": DRAIN_SECONDS}}},
    }
    return {
        "metadata": {"labels": labels, "annotations": {LOGIN_DIGEST: values["login"]}},
        "spec": {
            **POD,
            # With several replicas, Kubernetes' default of five minutes applies to pods of a failed node: a pod that
            # moves at once would stay on the other node after the recovery.
            "tolerations": POD["tolerations"] if settings.replicas == 1 else [],
            "terminationGracePeriodSeconds": DRAIN_SECONDS + 10,
            "topologySpreadConstraints": [
                {
                    "maxSkew": 1,
                    "topologyKey": "kubernetes.io/hostname",
                    # On a single remaining node, two pods are better than one pod and one pending pod.
                    "whenUnsatisfiable": "ScheduleAnyway",
                    "labelSelector": {"matchLabels": labels},
                    "matchLabelKeys": ["pod-template-hash"],
                }
            ],
            "initContainers": init_containers,
            "containers": [server],
            "volumes": [
                {"name": "models", "emptyDir": {"sizeLimit": "1Gi"}},
                {"name": "tmp", "emptyDir": {"sizeLimit": "100Mi"}},
                {"name": "login", "secret": {"secretName": netrc}},
            ],
        },
    }


def _fetch(name: str, image: str, environment: dict[str, str]) -> dict[str, Any]:
    """Return the container that downloads a version before the server starts."""
    return _container(name, image, environment, login=True) | {"command": ["python3", "-m", "model_server.fetch"]}


def _container(name: str, image: str, environment: dict[str, str], login: bool) -> dict[str, Any]:
    mounts = [{"name": "models", "mountPath": MODELS}, {"name": "tmp", "mountPath": "/tmp"}]
    if login:
        mounts.append({"name": "login", "mountPath": "/etc/registry"})
    return {
        "name": name,
        "image": image,
        "env": [{"name": key, "value": value} for key, value in environment.items() if value],
        # The pod's status then has the last log lines of a failed container.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "resources": RESOURCES,
        "securityContext": CONTAINER_SECURITY,
        "volumeMounts": mounts,
    }


def _probe(path: str) -> dict[str, Any]:
    return {"httpGet": {"path": path, "port": HEALTH_PORT}, "timeoutSeconds": 2}
