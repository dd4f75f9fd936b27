"""Model servers in a cluster: pods behind a Service."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes
from mlplatform.door.door import NAMESPACE as DOOR
from mlplatform.door.door_routes import canary_service
from mlplatform.images.image import MODEL_SERVER, Image
from mlplatform.k8s.deployment import service, settings_digest
from mlplatform.k8s.namespace import DNS, SERVING, Namespace, Rule, namespace, tcp_ports
from mlplatform.k8s.service_url import service_url
from mlplatform.k8s.waiting import SKIP_AWAIT
from mlplatform.mlflow import NAMESPACE as TRACKING
from mlplatform.mlflow import Login, TrackingServer
from mlplatform.mlflow_pod import CONTAINER_PORT as TRACKING_PORT
from mlplatform.monitoring.canary_trial import CanaryTrial
from mlplatform.monitoring.scraping import NAMESPACE as MONITORING
from mlplatform.monitoring.scraping import grant_pod_discovery
from mlplatform.platform import ClusterTarget
from mlplatform.team import Team

from settings.serving import CanarySettings, ServingSettings
from workloads.serving.champion import Champion
from workloads.serving.pod_template import (
    CONTAINER_PORT,
    GRPC_PORT,
    HEALTH_PORT,
    ModelRef,
    ModelRegistryLogin,
    pod_template,
)
from workloads.serving.rollout import Rollout, with_digest

NAMESPACE = SERVING
NETRC = "registry-login"
TRACK = "mlplatform/track"
"""Label of pods: `stable` for the champion, or `canary`."""
TARGET_CPU_PERCENT = 70
"""CPU utilization that the autoscaler aims at, in percent of a pod's request."""
ROLLOUT_SECONDS = 180


@dataclass(frozen=True)
class ServingNamespace:
    """Namespace, image and MLflow login that all model servers of a cluster share."""

    target: ClusterTarget
    namespace: Namespace
    image: Image
    tracking: TrackingServer
    login: ModelRegistryLogin
    resources: Sequence[pulumi.Resource]


def serving_namespace(target: ClusterTarget, tracking: TrackingServer) -> ServingNamespace:
    """Create the namespace of the shared model servers, their image and the login with which pods download models."""
    serving = namespace(NAMESPACE, target.cluster, target.registry)
    login, secret = _registry_login(NETRC, serving, tracking, tracking.reader)
    if target.monitored:
        grant_pod_discovery(serving)
    return ServingNamespace(target, serving, Image(MODEL_SERVER, target.registry), tracking, login, [secret])


def team_servers(shared: ServingNamespace, team: Team) -> ServingNamespace:
    """Prepare the namespace of a team for model servers, which download the models of this team and shared ones."""
    login, secret = _registry_login(
        f"{team.namespace.name}-{NETRC}", team.namespace, shared.tracking, team.logins.reader
    )
    if shared.target.monitored:
        grant_pod_discovery(team.namespace)
    return replace(shared, namespace=team.namespace, login=login, resources=[secret, *team.run_after])


def _registry_login(
    name: str, servers: Namespace, tracking: TrackingServer, reader: Login | None
) -> tuple[ModelRegistryLogin, kubernetes.core.v1.Secret]:
    """Create the Secret with the login of MLflow's user `reader` in the namespace of the servers."""
    host = tracking.inside_url.apply(lambda url: url.removeprefix("http://").partition(":")[0])
    username, password = reader or ("", "")
    secret = kubernetes.core.v1.Secret(
        name,
        metadata={"name": NETRC, "namespace": servers.name},
        string_data={"netrc": pulumi.Output.format("machine {} login {} password {}\n", host, username, password)},
        opts=servers.options(),
    )
    return ModelRegistryLogin(NETRC, settings_digest([secret])), secret


class ModelService(pulumi.ComponentResource):
    """Service of one or several models' champions, with its pods, autoscaler, disruption budget and an optional canary.

    A new champion replaces the pods one by one. An old pod ends after a new pod answers predictions. The update fails
    and rolls back if no new pod is ready within three minutes; the error has the messages of the new pods.

    Args:
        name: the name of the Service and of its Deployment.
        port: the port of the Service.
        champions: the champions by model. Several need `serving:follow`.
        canary: a second version that gets a share of the requests; None for none.
        trial: its measured trial, whose end stops the pods of the canary.
    """

    url: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        settings: ServingSettings,
        serving: ServingNamespace,
        *,
        port: int,
        champions: Mapping[str, Champion],
        canary: CanarySettings | None,
        trial: CanaryTrial | None = None,
    ) -> None:
        super().__init__("mlplatform:workloads:ModelService", name)
        self._settings, self._serving = settings, serving
        self._namespace = replace(serving.namespace, cluster=serving.target.cluster.under(self))
        labels = {"app.kubernetes.io/name": name}
        self._policy = self._namespace.allow(
            name,
            labels,
            ingress=_ingress(settings, serving.target),
            egress=[
                DNS,
                {
                    "to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": TRACKING}}}],
                    "ports": [{"protocol": "TCP", "port": TRACKING_PORT}],
                },
            ],
        )
        stable_models = [
            ModelRef(model, champion.version, champion.sha256, follow=settings.follow)
            for model, champion in champions.items()
        ]
        stable = self._deploy(name, "stable", settings.replicas, labels, stable_models)
        if canary:
            version = pulumi.Output.from_input(str(canary.version))
            (model,) = champions
            canary_models = [ModelRef(model, version, pulumi.Output.from_input(""))]
            count = canary.replicas
            replicas = trial.serves.apply(lambda serves: count if serves else 0) if trial else count
            self._deploy(f"{name}-canary", "canary", replicas, labels, canary_models, stable_models[0])
        self._limit_disruptions(name, labels)
        self._autoscale(name, stable)
        selected = {}
        if canary and canary.separate:
            selected = {TRACK: "stable"}
            self._service(canary_service(name), port, labels, {TRACK: "canary"})
        address = self._service(name, port, labels, selected)
        inside_url = f"http://{name}.{self._namespace.name}.svc:{port}"
        self.url = service_url(address, settings.service, serving.target.cluster, inside_url)
        self.register_outputs({"url": self.url})

    def _service(
        self, name: str, port: int, labels: Mapping[str, str], track: Mapping[str, str]
    ) -> kubernetes.core.v1.Service:
        """Create the Service of the pods with these labels. Its load balancer takes in each pod that becomes ready."""
        ports = {"http": (port, CONTAINER_PORT)}
        if self._settings.grpc_port:
            ports["grpc"] = (self._settings.grpc_port, GRPC_PORT)
        return service(name, self._namespace, labels, {**labels, **track}, ports, kind=self._settings.service)

    def _deploy(
        self,
        name: str,
        track: str,
        replicas: pulumi.Input[int],
        labels: Mapping[str, str],
        models: Sequence[ModelRef],
        champion: ModelRef | None = None,
    ) -> kubernetes.apps.v1.Deployment:
        """Create a Deployment of model versions and its rollout; a canary also gets the champion, to compare both.

        The autoscaler owns the replicas of the track `stable`.
        """
        serving = self._serving
        pod_labels = {**labels, TRACK: track}
        template = pod_template(
            pod_labels,
            self._settings,
            serving.image.reference,
            serving.tracking.inside_url,
            serving.login,
            models,
            champion,
        ).apply(with_digest)
        spec: dict[str, Any] = {
            "replicas": replicas,
            "selector": {"matchLabels": pod_labels},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            # Require 3 s of readiness before an old pod ends.
            "minReadySeconds": 3,
            "progressDeadlineSeconds": ROLLOUT_SECONDS,
            "revisionHistoryLimit": 3,
            "template": template,
        }
        scaled = pulumi.ResourceOptions(ignore_changes=["spec.replicas"] if track == "stable" else [])
        deployment = kubernetes.apps.v1.Deployment(
            name,
            metadata=self._namespace.metadata(name, pod_labels, SKIP_AWAIT),
            spec=spec,
            opts=pulumi.ResourceOptions.merge(self._namespace.options(*serving.resources, self._policy), scaled),
        )
        Rollout(
            name,
            kubeconfig=serving.target.cluster.kubeconfig,
            namespace=self._namespace.name,
            labels=pod_labels,
            deployment=deployment,
            template=template,
            opts=pulumi.ResourceOptions(parent=self),
        )
        return deployment

    def _limit_disruptions(self, name: str, labels: Mapping[str, str]) -> None:
        kubernetes.policy.v1.PodDisruptionBudget(
            name,
            metadata=self._namespace.metadata(name),
            spec={"selector": {"matchLabels": labels}, "maxUnavailable": 1},
            opts=self._namespace.options(),
        )

    def _autoscale(self, name: str, deployment: kubernetes.apps.v1.Deployment) -> None:
        utilization = {"type": "Utilization", "averageUtilization": TARGET_CPU_PERCENT}
        kubernetes.autoscaling.v2.HorizontalPodAutoscaler(
            name,
            metadata=self._namespace.metadata(name),
            spec={
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
                "minReplicas": self._settings.replicas,
                "maxReplicas": self._settings.maximum_replicas,
                "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": utilization}}],
            },
            opts=self._namespace.options(deployment),
        )


def _ingress(settings: ServingSettings, target: ClusterTarget) -> list[Rule]:
    """Return the rules for connections to the pods; the door and Prometheus alone connect to models behind a door.

    Kubernetes lets in probes, which come from the node of the pod, whatever the rules. Their port has metrics, too.
    """
    predictions = [CONTAINER_PORT, *([GRPC_PORT] if settings.grpc_port else [])]
    if not target.door:
        return [tcp_ports(*predictions, HEALTH_PORT)]
    names = {"key": "kubernetes.io/metadata.name", "operator": "In", "values": [DOOR, MONITORING]}
    peers = [{"namespaceSelector": {"matchExpressions": [names]}}]
    return [{"from": peers, **tcp_ports(*predictions)}]
