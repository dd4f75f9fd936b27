"""Monitoring: Prometheus with its exporters, its alerts and its status page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi
from mlplatform.k8s.namespace import SERVING, namespace
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


class Monitoring(pulumi.ComponentResource):
    """Prometheus, node_exporter, kube-state-metrics and, if the settings name a webhook, Alertmanager.

    Args:
        kubeflow: resources of the namespace of Kubeflow Pipelines; empty if it is not installed.
        teams: namespaces of teams with model servers.
        door: namespace of the door, "" without one.
        expected: what has to happen regularly, for the alerts on its absence: `backup`, `drill`.

    Attributes:
        inside_url: the URL of Prometheus for pods.
        username, password: its login; the password is secret.
        outputs: `monitoring_url`, and `monitoring_login` as a secret.
    """

    inside_url: str
    username: str
    password: pulumi.Output[str]
    outputs: Mapping[str, pulumi.Input[Any]]

    def __init__(
        self,
        settings: MonitoringSettings,
        cluster: Cluster,
        registry: ContainerRegistry,
        kubeflow: Sequence[pulumi.Resource] = (),
        teams: Sequence[str] = (),
        *,
        door: str = "",
        expected: Sequence[str] = (),
    ) -> None:
        super().__init__("mlplatform:platform:Monitoring", "monitoring")
        inside = cluster.under(self)
        monitoring = namespace(NAMESPACE, inside, registry, volumes=True)
        self.username = USER
        self.password = RandomPassword("monitoring-password").value
        self.inside_url = f"http://{PROMETHEUS}.{NAMESPACE}.svc:{settings.port}"
        node_exporter(inside, registry)
        kube_state_metrics(monitoring)
        if settings.alerts_url:
            alertmanager(monitoring, settings.alerts_url)
        if kubeflow:
            allow_scrape(KUBEFLOW, {"app": KUBEFLOW_API}, KUBEFLOW_PORT, inside.options(*kubeflow))
        constants = {
            "registry_certificate_expiration_timestamp_seconds": registry.certificate_expires,
            **{f"{each}_expected": 1 for each in expected},
        }
        servers = [SERVING, *teams]
        service = prometheus(
            settings, monitoring, self.password, constants, servers, kubeflow=bool(kubeflow), door=door
        )
        url = service_url(service, settings.service, cluster, self.inside_url)
        self.outputs = {
            "monitoring_url": pulumi.Output.concat(url, PAGE),
            "monitoring_login": pulumi.Output.secret({"username": USER, "password": self.password}),
        }
        self.register_outputs({})
