"""Alertmanager, which posts alerts to a webhook, grouped by the alert's name."""

from __future__ import annotations

import json

import pulumi
import pulumi_kubernetes as kubernetes
from mlplatform.k8s.deployment import deployment, service
from mlplatform.k8s.namespace import ANY_ADDRESS, DNS, Namespace
from mlplatform.k8s.pod import Container, HttpGet, Pod, Probe, Probes, Resources
from mlplatform.k8s.volumes import EmptyDir, Mount, SecretFiles
from mlplatform.monitoring.scraping import IMAGES, from_prometheus, labels, metadata
from pydantic import SecretStr

NAME = "alertmanager"
PORT = 9093
ADDRESS_FILE = "/etc/alertmanager/url"
SETTINGS = {
    "route": {
        "receiver": "webhook",
        "group_by": ["alertname"],
        "group_wait": "30s",
        "group_interval": "5m",
        "repeat_interval": "12h",
    },
    "receivers": [{"name": "webhook", "webhook_configs": [{"url_file": ADDRESS_FILE, "send_resolved": True}]}],
}


def alertmanager(namespace: Namespace, url: SecretStr) -> None:
    """Create an Alertmanager that posts to `url`. Its silences are lost with its pod."""
    secret = kubernetes.core.v1.Secret(
        NAME,
        metadata=metadata(NAME),
        # JSON is also YAML.
        string_data={"alertmanager.yaml": json.dumps(SETTINGS), "url": pulumi.Output.secret(url.get_secret_value())},
        opts=namespace.options(),
    )
    policy = namespace.allow(NAME, labels(NAME), ingress=[from_prometheus(PORT)], egress=[DNS, ANY_ADDRESS])
    ready = HttpGet("/-/ready", PORT)
    server = Container(
        NAME,
        IMAGES[NAME],
        Resources(cpu=("10m", "200m"), memory=("32Mi", "128Mi")),
        args=[
            "--config.file=/etc/alertmanager/alertmanager.yaml",
            "--storage.path=/alertmanager",
            f"--web.listen-address=:{PORT}",
            # An empty address disables clustering, which one pod does not need.
            "--cluster.listen-address=",
        ],
        ports={"http": PORT},
        probes=Probes(
            readiness=Probe(ready, period=5, timeout=3),
            liveness=Probe(ready, period=20, timeout=3, failures=6),
        ),
        mounts=[Mount("settings", "/etc/alertmanager", read_only=True), Mount("state", "/alertmanager")],
    )
    pod = Pod([server], volumes={"settings": SecretFiles(NAME), "state": EmptyDir("100Mi")})
    deployment(NAME, namespace, labels(NAME), pod, secret, policy)
    service(NAME, namespace, labels(NAME), labels(NAME), {"http": (PORT, PORT)})
