"""Prometheus itself: behind a password, on a volume."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import bcrypt
import pulumi
import pulumi_kubernetes as kubernetes
import yaml
from mlplatform.k8s.namespace import CONTAINER_SECURITY, DNS, EVERYWHERE, POD, SERVING, Namespace
from mlplatform.k8s.pvc import persistent_volume_claim
from mlplatform.k8s.rbac import service_account
from mlplatform.kubeflow.deployment_factory import NAMESPACE as KUBEFLOW
from mlplatform.monitoring import node_exporter
from mlplatform.monitoring.scrape_config import LOGIN, PASSWORD_FILE, USER, configuration
from mlplatform.monitoring.scraping import IMAGES, NAMESPACE, PROMETHEUS, labels, metadata

from settings.platform import MonitoringSettings

PORT = 9090
PAGE = "/consoles/index.html"
FILES = Path(__file__).with_name("files")
DATA = "/prometheus"
SETTINGS = "/etc/prometheus"
RIGHTS = [
    {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "watch"]},
    {"apiGroups": [""], "resources": ["nodes/metrics"], "verbs": ["get"]},
    {"nonResourceURLs": ["/metrics"], "verbs": ["get"]},
]
"""In the whole cluster: to find the kubelets, and to read their metrics and the API server's."""
DIGITS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
TO_BCRYPT = bytes.maketrans(DIGITS + b"+/", b"./" + DIGITS)
"""From the usual Base64 to bcrypt's own."""


def prometheus(
    settings: MonitoringSettings, room: Namespace, password: pulumi.Output[str], kubeflow: bool
) -> kubernetes.core.v1.Service:
    """Its Service; `kubeflow` is whether Kubeflow Pipelines is there to be looked at."""
    account = service_account(PROMETHEUS, room.name, room.cluster, *room.resources, everywhere=RIGHTS)
    content = _content(settings, kubeflow)
    files = kubernetes.core.v1.ConfigMap(
        PROMETHEUS, metadata=metadata(PROMETHEUS), data=dict(content), opts=room.options()
    )
    login = kubernetes.core.v1.Secret(
        PROMETHEUS,
        metadata=metadata(PROMETHEUS),
        string_data={
            Path(PASSWORD_FILE).name: password,
            "web.yaml": password.apply(lambda known: yaml.safe_dump({"basic_auth_users": {USER: _hashed(known)}})),
            # What asks it from its own pod.
            "client.yaml": yaml.safe_dump({"basic_auth": {"username": USER, "password_file": PASSWORD_FILE}}),
        },
        opts=room.options(),
    )
    volume = persistent_volume_claim(PROMETHEUS, room, labels(PROMETHEUS), settings.size_gb)
    server = kubernetes.apps.v1.Deployment(
        PROMETHEUS,
        metadata=metadata(PROMETHEUS),
        spec={
            "replicas": 1,
            # Two would write to one volume.
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": labels(PROMETHEUS)},
            "template": {
                "metadata": {"labels": labels(PROMETHEUS), "annotations": {"settings": _digest(content)}},
                "spec": _pod(),
            },
        },
        opts=room.options(*account, files, login, volume, _policy(room)),
    )
    return kubernetes.core.v1.Service(
        PROMETHEUS,
        metadata=metadata(PROMETHEUS),
        spec={
            "type": settings.service,
            "selector": labels(PROMETHEUS),
            "ports": [{"name": "http", "port": settings.port, "targetPort": PORT}],
        },
        opts=room.options(server),
    )


def _content(settings: MonitoringSettings, kubeflow: bool) -> dict[str, str]:
    """What it reads at its start: its configuration, its rules and its page."""
    written = configuration(
        settings.size_gb, settings.retention_days, PORT, kubeflow=kubeflow, alerts=settings.alerts_url is not None
    )
    files = {file.name: file.read_text() for file in sorted(FILES.iterdir())}
    return {"prometheus.yaml": yaml.safe_dump(written, sort_keys=False), **files}


def _policy(room: Namespace) -> kubernetes.networking.v1.NetworkPolicy:
    """Its page is for people: whoever has the password may come from anywhere. It goes to what it reads."""
    pods = [node_exporter.NAMESPACE, NAMESPACE, SERVING, KUBEFLOW]
    return room.allow(
        PROMETHEUS,
        labels(PROMETHEUS),
        ingress=[{"ports": [{"protocol": "TCP", "port": PORT}]}],
        egress=[
            DNS,
            # The API server and the kubelets.
            {**EVERYWHERE, "ports": [{"protocol": "TCP", "port": port} for port in (443, 6443, 10250)]},
            {"to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}} for name in pods]},
        ],
    )


def _pod() -> dict[str, Any]:
    ready = ["/bin/promtool", "check", "ready", f"--url=http://localhost:{PORT}"]
    # While it reads what it wrote last, it listens, and does not answer yet. Only its own tool has the password.
    start = {"exec": {"command": [*ready, f"--http.config.file={LOGIN}/client.yaml"]}, "timeoutSeconds": 5}
    listens = {"tcpSocket": {"port": PORT}, "timeoutSeconds": 3}
    container = {
        "name": PROMETHEUS,
        "image": IMAGES[PROMETHEUS],
        "args": [
            f"--config.file={SETTINGS}/prometheus.yaml",
            f"--web.config.file={LOGIN}/web.yaml",
            f"--web.listen-address=:{PORT}",
            f"--web.console.templates={SETTINGS}/consoles",
            f"--storage.tsdb.path={DATA}",
        ],
        "workingDir": DATA,
        "ports": [{"name": "http", "containerPort": PORT}],
        "startupProbe": start | {"periodSeconds": 3, "failureThreshold": 200},
        "readinessProbe": listens | {"periodSeconds": 5},
        "livenessProbe": listens | {"periodSeconds": 20, "failureThreshold": 6},
        "resources": {
            "requests": {"cpu": "50m", "memory": "256Mi", "ephemeral-storage": "10Mi"},
            "limits": {"cpu": "1", "memory": "1Gi", "ephemeral-storage": "100Mi"},
        },
        "securityContext": CONTAINER_SECURITY,
        "volumeMounts": [
            {"name": "data", "mountPath": DATA},
            {"name": "settings", "mountPath": SETTINGS, "readOnly": True},
            {"name": "login", "mountPath": LOGIN, "readOnly": True},
        ],
    }
    rules = [file.name for file in sorted(FILES.glob("*.yaml"))]
    places = {name: name for name in ("prometheus.yaml", *rules)} | {"index.html": "consoles/index.html"}
    items = [{"key": key, "path": path} for key, path in places.items()]
    return {
        **POD,
        "serviceAccountName": PROMETHEUS,
        "automountServiceAccountToken": True,
        # It writes down what it has in memory.
        "terminationGracePeriodSeconds": 60,
        "containers": [container],
        "volumes": [
            {"name": "data", "persistentVolumeClaim": {"claimName": PROMETHEUS}},
            {"name": "settings", "configMap": {"name": PROMETHEUS, "items": items}},
            {"name": "login", "secret": {"secretName": PROMETHEUS}},
        ],
    }


def _digest(content: dict[str, str]) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _hashed(password: str) -> str:
    """As Prometheus takes it. A salt drawn anew would be a change at each `up`, so it comes from the password, which is
    random enough for both.
    """
    salt = base64.b64encode(hashlib.sha256(password.encode()).digest()[:16]).rstrip(b"=").translate(TO_BCRYPT)
    return bcrypt.hashpw(password.encode(), b"$2b$10$" + salt).decode()
