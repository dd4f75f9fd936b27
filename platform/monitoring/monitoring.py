"""Monitoring: Prometheus, what it looks at the cluster through, its alerts and its page on the state of all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
from mlplatform.k8s.namespace import namespace
from mlplatform.k8s.service_url import service_url
from mlplatform.kubeflow.api_server import HTTP as KUBEFLOW_PORT
from mlplatform.kubeflow.api_server import NAME as KUBEFLOW_API
from mlplatform.kubeflow.deployment_factory import NAMESPACE as KUBEFLOW
from mlplatform.monitoring.alertmanager import alertmanager
from mlplatform.monitoring.kube_state_metrics import kube_state_metrics
from mlplatform.monitoring.node_exporter import node_exporter
from mlplatform.monitoring.prometheus import PAGE, prometheus
from mlplatform.monitoring.scrape_config import USER
from mlplatform.monitoring.scraping import NAMESPACE, PROMETHEUS, allow_scrape

from infra.cluster import Cluster
from infra.registry import ContainerRegistry
from infra.secrets import RandomPassword
from settings.platform import MonitoringSettings


@dataclass(frozen=True)
class Monitoring:
    """A Prometheus that watches the cluster: its address for pods, who may ask it, and what the stack says of it."""

    inside_url: str
    username: str
    password: pulumi.Output[str]
    outputs: Mapping[str, pulumi.Input[Any]]


def monitoring(
    settings: MonitoringSettings,
    cluster: Cluster,
    registry: ContainerRegistry,
    kubeflow: Sequence[pulumi.Resource] = (),
) -> Monitoring:
    """Prometheus and its sources. `kubeflow` is what the namespace of Kubeflow Pipelines is there after, if it is."""
    room = namespace(NAMESPACE, cluster, registry)
    password = RandomPassword("monitoring-password").value
    node_exporter(cluster, registry)
    kube_state_metrics(room)
    if settings.alerts_url:
        alertmanager(room, settings.alerts_url)
    if kubeflow:
        allow_scrape(KUBEFLOW, {"app": KUBEFLOW_API}, KUBEFLOW_PORT, cluster.options(*kubeflow))
    service = prometheus(settings, room, password, kubeflow=bool(kubeflow))
    inside = f"http://{PROMETHEUS}.{NAMESPACE}.svc:{settings.port}"
    return Monitoring(
        inside_url=inside,
        username=USER,
        password=password,
        outputs={
            "monitoring_url": pulumi.Output.concat(service_url(service, settings.service, cluster, inside), PAGE),
            "monitoring_login": pulumi.Output.secret({"username": USER, "password": password}),
        },
    )
