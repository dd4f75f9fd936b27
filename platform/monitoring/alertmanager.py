"""Alertmanager: tells a webhook of alerts, those that belong together in one message."""

from __future__ import annotations

import json

import pulumi
import pulumi_kubernetes as kubernetes
from mlplatform.k8s.namespace import CONTAINER_SECURITY, DNS, EVERYWHERE, POD, Namespace
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


def alertmanager(room: Namespace, url: SecretStr) -> None:
    """One that posts to `url`; what was silenced by hand is forgotten with its pod."""
    secret = kubernetes.core.v1.Secret(
        NAME,
        metadata=metadata(NAME),
        # JSON is YAML, too.
        string_data={
            "alertmanager.yaml": json.dumps(SETTINGS),
            "url": pulumi.Output.secret(url.get_secret_value()),
        },
        opts=room.options(),
    )
    policy = room.allow(NAME, labels(NAME), ingress=[from_prometheus(PORT)], egress=[DNS, EVERYWHERE])
    probe = {"httpGet": {"path": "/-/ready", "port": PORT}, "timeoutSeconds": 3}
    container = {
        "name": NAME,
        "image": IMAGES[NAME],
        "args": [
            "--config.file=/etc/alertmanager/alertmanager.yaml",
            "--storage.path=/alertmanager",
            f"--web.listen-address=:{PORT}",
            # It is alone.
            "--cluster.listen-address=",
        ],
        "ports": [{"name": "http", "containerPort": PORT}],
        "readinessProbe": probe | {"periodSeconds": 5},
        "livenessProbe": probe | {"periodSeconds": 20, "failureThreshold": 6},
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"cpu": "200m", "memory": "128Mi"}},
        "securityContext": CONTAINER_SECURITY,
        "volumeMounts": [
            {"name": "settings", "mountPath": "/etc/alertmanager", "readOnly": True},
            {"name": "state", "mountPath": "/alertmanager"},
        ],
    }
    pod = {
        **POD,
        "containers": [container],
        "volumes": [
            {"name": "settings", "secret": {"secretName": NAME}},
            {"name": "state", "emptyDir": {"sizeLimit": "100Mi"}},
        ],
    }
    kubernetes.apps.v1.Deployment(
        NAME,
        metadata=metadata(NAME),
        spec={
            "replicas": 1,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": labels(NAME)},
            "template": {"metadata": {"labels": labels(NAME)}, "spec": pod},
        },
        opts=room.options(secret, policy),
    )
    kubernetes.core.v1.Service(
        NAME,
        metadata=metadata(NAME),
        spec={"selector": labels(NAME), "ports": [{"name": "http", "port": PORT, "targetPort": PORT}]},
        opts=room.options(),
    )
