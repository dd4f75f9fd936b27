"""A pod of the model server: a first step fetches the model and checks its hash, then the server serves that folder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pulumi
from mlplatform.k8s.namespace import CONTAINER_SECURITY, POD

from settings.serving import ServingSettings
from workloads.serving.champion import ALIAS

CONTAINER_PORT = 5005
MODELS = "/models"
LEAVE_SECONDS = 5
"""How long a pod that is to end still answers: until then the last node has heard that it is to be asked no more."""
RESOURCES = {
    "requests": {"cpu": "100m", "memory": "256Mi", "ephemeral-storage": "100Mi"},
    "limits": {"cpu": "500m", "memory": "1Gi", "ephemeral-storage": "1Gi"},
}


@dataclass(frozen=True)
class Served:
    """A model's version, "" while there is none, and its SHA-256, "" for whichever the registry has.

    With `follow` it is only the first one that is served: the server looks for the next by itself.
    """

    model: str
    version: pulumi.Output[str]
    sha256: pulumi.Output[str]
    follow: bool = False


def pod_template(
    labels: dict[str, str],
    settings: ServingSettings,
    image: pulumi.Input[str],
    registry: pulumi.Input[str],
    netrc: str,
    served: Served,
) -> pulumi.Output[dict[str, Any]]:
    """The pod template of a Deployment. `netrc` is the secret with the login of the registry, an MLflow server."""
    return pulumi.Output.all(image=image, registry=registry, version=served.version, sha256=served.sha256).apply(
        lambda known: _template(labels, settings, netrc, served, known)
    )


def _template(
    labels: dict[str, str], settings: ServingSettings, netrc: str, served: Served, known: dict[str, str]
) -> dict[str, Any]:
    version = known["version"]
    from_registry = {
        "MODEL_SERVER_REGISTRY": known["registry"],
        "MODEL_SERVER_MODEL": served.model,
        "MODEL_SERVER_CACHE": MODELS,
        "NETRC": "/etc/registry/netrc",
    }
    limits = {
        "MODEL_SERVER_HOST": "0.0.0.0",
        "MODEL_SERVER_PORT": str(CONTAINER_PORT),
        "MODEL_SERVER_WORKERS": str(settings.workers),
        "MODEL_SERVER_MAX_BODY_BYTES": str(settings.max_body_bytes),
        "MODEL_SERVER_MAX_ROWS": str(settings.max_rows),
    }
    first: list[dict[str, Any]] = []
    if served.follow:
        chosen = from_registry | {"MODEL_SERVER_ALIAS": ALIAS}
    elif version:
        pin = {"MODEL_SERVER_VERSION": version, "MODEL_SERVER_SHA256": known["sha256"]}
        fetch = _container("fetch", known["image"], from_registry | pin, login=True)
        first = [fetch | {"command": ["python3", "-m", "model_server.fetch"]}]
        folder = {"MODEL_SERVER_MODEL": served.model, "MODEL_SERVER_DIRECTORY": f"{MODELS}/{served.model}/{version}"}
        chosen = folder | pin
    else:
        chosen = {"MODEL_SERVER_MODEL": served.model}
    ready = "/v2/health/ready" if version else "/v2/health/live"
    server = _container("server", known["image"], chosen | limits, login=served.follow) | {
        "ports": [{"name": "http", "containerPort": CONTAINER_PORT}],
        "startupProbe": _probe("/v2/health/live") | {"periodSeconds": 1, "failureThreshold": 60},
        "readinessProbe": _probe(ready) | {"periodSeconds": 2, "failureThreshold": 2},
        "livenessProbe": _probe("/v2/health/live") | {"periodSeconds": 10, "failureThreshold": 3},
        "lifecycle": {"preStop": {"sleep": {"seconds": LEAVE_SECONDS}}},
    }
    return {
        "metadata": {"labels": labels},
        "spec": {
            **POD,
            # One that has others beside it waits five minutes for its machine, as Kubernetes has it: moved at once, it
            # would stay on another's machine when its own is back.
            "tolerations": POD["tolerations"] if settings.replicas == 1 else [],
            "terminationGracePeriodSeconds": LEAVE_SECONDS + 10,
            "topologySpreadConstraints": [
                {
                    "maxSkew": 1,
                    "topologyKey": "kubernetes.io/hostname",
                    # With one machine left, both are better there than one nowhere.
                    "whenUnsatisfiable": "ScheduleAnyway",
                    "labelSelector": {"matchLabels": labels},
                    "matchLabelKeys": ["pod-template-hash"],
                }
            ],
            "initContainers": first,
            "containers": [server],
            "volumes": [
                {"name": "models", "emptyDir": {"sizeLimit": "1Gi"}},
                {"name": "tmp", "emptyDir": {"sizeLimit": "100Mi"}},
                {"name": "login", "secret": {"secretName": netrc}},
            ],
        },
    }


def _container(name: str, image: str, environment: dict[str, str], login: bool) -> dict[str, Any]:
    mounts = [{"name": "models", "mountPath": MODELS}, {"name": "tmp", "mountPath": "/tmp"}]
    if login:
        mounts.append({"name": "login", "mountPath": "/etc/registry"})
    return {
        "name": name,
        "image": image,
        "env": [{"name": key, "value": value} for key, value in environment.items() if value],
        # What a container that failed said last stands in the pod's state.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "resources": RESOURCES,
        "securityContext": CONTAINER_SECURITY,
        "volumeMounts": mounts,
    }


def _probe(path: str) -> dict[str, Any]:
    return {"httpGet": {"path": path, "port": CONTAINER_PORT}, "timeoutSeconds": 2}
