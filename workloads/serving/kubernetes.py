"""The model server in a cluster: pods behind one address."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes
from mlplatform.images.image import MODEL_SERVER, Image
from mlplatform.k8s.namespace import DNS, SERVING, Namespace, namespace
from mlplatform.k8s.service_url import service_url
from mlplatform.mlflow import CONTAINER_PORT as TRACKING_PORT
from mlplatform.mlflow import NAMESPACE as TRACKING
from mlplatform.mlflow import TrackingServer
from mlplatform.monitoring.scraping import grant_pod_discovery
from mlplatform.platform import ClusterTarget

from settings.serving import CanarySettings, ServingSettings
from workloads.serving.champion import Champion
from workloads.serving.pod_template import CONTAINER_PORT, Served, pod_template
from workloads.serving.rollout import UNAWAITED, Rollout, digested

NAMESPACE = SERVING
NETRC = "registry-login"
BUSY_PERCENT = 70
"""Of the processor time that a pod asks for, above which there are more pods."""
ROLLOUT_SECONDS = 180


@dataclass(frozen=True)
class ServingNamespace:
    """What all model servers of a cluster share."""

    place: ClusterTarget
    room: Namespace
    image: Image
    tracking: TrackingServer
    resources: Sequence[pulumi.Resource]


def serving_namespace(place: ClusterTarget, tracking: TrackingServer) -> ServingNamespace:
    """The namespace of the model servers, their image, and the login with which a pod fetches its model."""
    room = namespace(NAMESPACE, place.cluster, place.registry)
    host = tracking.inside_url.apply(lambda url: url.removeprefix("http://").partition(":")[0])
    login = pulumi.Output.format(
        "machine {} login {} password {}\n", host, tracking.access["username"], tracking.access["password"]
    )
    netrc = kubernetes.core.v1.Secret(
        NETRC,
        metadata={"name": NETRC, "namespace": NAMESPACE},
        string_data={"netrc": login},
        opts=room.options(),
    )
    if place.monitored:
        grant_pod_discovery(room)
    image = Image(MODEL_SERVER, place.registry)
    return ServingNamespace(place, room, image, tracking, [netrc])


def model_service(
    name: str,
    settings: ServingSettings,
    shared: ServingNamespace,
    *,
    port: int,
    model: str,
    champion: Champion,
    canary: CanarySettings | None,
) -> pulumi.Output[str]:
    """The servers of one model's champion. Returns their address.

    A new champion comes pod by pod: none of the old goes before one of the new answers predictions. Where none does
    within three minutes, the update fails with what the new pods said, and is taken back: the old ones go on.
    """
    room = shared.room
    labels = {"app.kubernetes.io/name": name}
    policy = room.allow(
        name,
        labels,
        ingress=[{"ports": [{"protocol": "TCP", "port": CONTAINER_PORT}]}],
        egress=[
            DNS,
            {
                "to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": TRACKING}}}],
                "ports": [{"protocol": "TCP", "port": TRACKING_PORT}],
            },
        ],
    )
    served = Served(model, champion.version, champion.sha256, follow=settings.follow)
    stable, rolled_out = _deployment(name, "stable", settings, settings.replicas, shared, labels, served, [policy])
    rollouts = [rolled_out]
    if canary:
        candidate = Served(model, pulumi.Output.from_input(str(canary.version)), pulumi.Output.from_input(""))
        own = f"{name}-canary"
        _, rolled_out = _deployment(own, "canary", settings, canary.replicas, shared, labels, candidate, [policy])
        rollouts.append(rolled_out)
    kubernetes.policy.v1.PodDisruptionBudget(
        name,
        metadata={"name": name, "namespace": NAMESPACE},
        spec={"selector": {"matchLabels": labels}, "maxUnavailable": 1},
        opts=room.options(),
    )
    kubernetes.autoscaling.v2.HorizontalPodAutoscaler(
        name,
        metadata={"name": name, "namespace": NAMESPACE},
        spec={
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "minReplicas": settings.replicas,
            "maxReplicas": settings.maximum_replicas,
            "metrics": [
                {
                    "type": "Resource",
                    "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": BUSY_PERCENT}},
                }
            ],
        },
        opts=room.options(stable),
    )
    service = kubernetes.core.v1.Service(
        name,
        metadata={"name": name, "namespace": NAMESPACE, "labels": labels},
        spec={
            "type": settings.service,
            "selector": labels,
            "ports": [{"name": "http", "port": port, "targetPort": CONTAINER_PORT}],
        },
        opts=room.options(*rollouts),
    )
    inside = f"http://{name}.{NAMESPACE}.svc:{port}"
    return service_url(service, settings.service, shared.place.cluster, inside)


def _deployment(
    name: str,
    track: str,
    settings: ServingSettings,
    replicas: int,
    shared: ServingNamespace,
    labels: dict[str, str],
    served: Served,
    depends_on: Sequence[pulumi.Resource],
) -> tuple[kubernetes.apps.v1.Deployment, Rollout]:
    own = labels | {"mlplatform/track": track}
    template = pod_template(own, settings, shared.image.reference, shared.tracking.inside_url, NETRC, served)
    template = template.apply(digested)
    spec: dict[str, Any] = {
        "replicas": replicas,
        "selector": {"matchLabels": own},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        # A pod that answers one probe and no other is none to give up an old one for.
        "minReadySeconds": 3,
        "progressDeadlineSeconds": ROLLOUT_SECONDS,
        "revisionHistoryLimit": 3,
        "template": template,
    }
    deployment = kubernetes.apps.v1.Deployment(
        name,
        metadata={"name": name, "namespace": NAMESPACE, "labels": own, "annotations": UNAWAITED},
        spec=spec,
        opts=pulumi.ResourceOptions.merge(
            shared.room.options(*shared.resources, *depends_on),
            # The autoscaler's.
            pulumi.ResourceOptions(ignore_changes=["spec.replicas"] if track == "stable" else []),
        ),
    )
    rollout = Rollout(
        name,
        kubeconfig=shared.place.cluster.kubeconfig,
        namespace=NAMESPACE,
        labels=own,
        deployment=deployment,
        template=template,
    )
    return deployment, rollout
