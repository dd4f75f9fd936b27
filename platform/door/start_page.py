"""The start page: what its program reads, and its Deployment."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import mlplatform.start_page as program
import pulumi
import pulumi_kubernetes as kubernetes
from mlplatform.door.door_routes import ROLES
from mlplatform.images.image import Image
from mlplatform.k8s.deployment import deployment, service
from mlplatform.k8s.namespace import Namespace, Rule, tcp_ports
from mlplatform.k8s.pod import Container, HttpGet, Pod, Resources, SecretKey, server_probes
from mlplatform.k8s.program_files import program_files
from mlplatform.k8s.volumes import ConfigMapFiles, EmptyDir, Mount, SecretFiles

NAME = "start-page"
PORT = 8000
MODULE = "mlplatform.start_page"
PROGRAMS = "/etc/mlplatform"
PACKAGES = "/opt/mlplatform/packages"
SETTINGS = "/etc/start-page"
SETTINGS_FILE, KEY = "settings.json", "key"
PODS = {"app.kubernetes.io/name": NAME}
LINKS = {
    "mlflow": ("Runs and models (MLflow)", "/mlflow/"),
    "notebooks": ("Notebook (JupyterLab)", "/notebooks/"),
    "pipeline": ("Pipelines (Kubeflow)", "/pipeline/"),
    "monitoring": ("Metrics and alerts", "/monitoring/"),
    "audit": ("Audit log", "/audit"),
}
"""Name and path of a link by its area."""


def start_page_settings(
    mlflow: str,
    prometheus: Mapping[str, str] | None,
    models: Mapping[str, Mapping[str, str]],
    schedules: Mapping[str, str],
    roles: Mapping[str, Sequence[str]] = ROLES,
    *,
    kubeflow: bool = False,
    notebooks: bool = False,
    canary: Mapping[str, Any] | None = None,
    audit: str | None = None,
) -> dict[str, Any]:
    """Return what the program reads.

    Args:
        mlflow: the URL of MLflow.
        prometheus: URL, username and password of Prometheus; None without it.
        models: `url`, `visibility` and `team` of each served model by name.
        schedules: cron expressions by pipeline.
        roles: roles that may use an area, by its name.
        kubeflow: whether there are the pages of Kubeflow Pipelines.
        notebooks: whether there are notebooks.
        canary: the stack output `canary`; None without a measured canary.
        audit: the URL of the audit log.
    """
    shown = {
        "audit": audit is not None,
        "mlflow": True,
        "notebooks": notebooks,
        "pipeline": kubeflow,
        "monitoring": prometheus is not None,
    }
    return {
        "mlflow": mlflow,
        "prometheus": dict(prometheus) if prometheus else None,
        "models": {name: dict(model) for name, model in models.items()},
        "schedules": dict(schedules),
        "canary": dict(canary) if canary else None,
        "audit": audit,
        "links": [
            {"name": name, "path": path, "roles": list(roles[area])}
            for area, (name, path) in LINKS.items()
            if shown[area]
        ],
    }


def start_page(
    namespace: Namespace,
    libraries: Image,
    settings: pulumi.Output[dict[str, Any]],
    key: pulumi.Output[str],
    door: Rule,
    egress: list[Rule],
) -> kubernetes.core.v1.Service:
    """Create the Deployment of the program and return its Service; only the peer `door` may connect to it."""
    metadata = namespace.metadata(NAME, PODS)
    sources = kubernetes.core.v1.ConfigMap(
        NAME,
        metadata=metadata,
        data=program_files(program),
        opts=namespace.options(),
    )
    settings_text: pulumi.Output[str] = pulumi.Output.secret(settings.apply(json.dumps))
    secret = kubernetes.core.v1.Secret(
        NAME,
        metadata=metadata,
        string_data={SETTINGS_FILE: settings_text, KEY: key},
        opts=namespace.options(),
    )
    policy = namespace.allow(NAME, PODS, ingress=[{"from": [door], **tcp_ports(PORT)}], egress=egress)
    server = Container(
        NAME,
        libraries.reference,
        Resources(cpu=("20m", "1"), memory=("96Mi", "256Mi"), ephemeral_storage=("10Mi", "100Mi")),
        command=["python3", "-m", "uvicorn", f"{MODULE}.application:application"],
        args=["--host", "0.0.0.0", "--port", str(PORT), "--no-access-log"],
        environment={
            "PYTHONPATH": f"{PROGRAMS}:{PACKAGES}",
            "START_PAGE_SETTINGS": f"{SETTINGS}/{SETTINGS_FILE}",
            "DOOR_KEY": SecretKey(NAME, KEY),
        },
        ports={"http": PORT},
        probes=server_probes(HttpGet("/health", PORT)),
        mounts=[
            Mount("programs", f"{PROGRAMS}/{MODULE.replace('.', '/')}", read_only=True),
            Mount("settings", SETTINGS, read_only=True),
            Mount("tmp", "/tmp"),
        ],
    )
    volumes = {
        "programs": ConfigMapFiles(NAME),
        "settings": SecretFiles(NAME, {SETTINGS_FILE: SETTINGS_FILE}),
        "tmp": EmptyDir("100Mi"),
    }
    pod = Pod([server], volumes=volumes, grace_seconds=5)
    created = deployment(NAME, namespace, PODS, pod, policy, settings=[sources, secret], strategy="RollingUpdate")
    return service(NAME, namespace, PODS, PODS, {"http": (PORT, PORT)}, created)
