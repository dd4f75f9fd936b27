"""Configuration of JupyterHub: one server for each person, in the namespace of the person's team."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from mlplatform.notebook_hub.door_login import DoorAuthenticator
from mlplatform.notebook_hub.server_profiles import server_profiles
from tornado.web import HTTPError

SETTINGS = "NOTEBOOKS_SETTINGS"
"""Environment variable with the path of the settings, which `mlplatform.notebooks.hub_settings` describes."""
HOME = "/home/notebook"
CULLER = "idle-culler"
START_SECONDS = 300
"""A node may have to pull the image first."""
SERVER_OPTIONS = [
    "--LabApp.extension_manager=readonly",
    "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    "--LabApp.news_url=None",
]


def configure(c: Any) -> None:
    """Set the configuration `c` of JupyterHub."""
    settings = json.loads(Path(os.environ[SETTINGS]).read_text())
    _configure_hub(c, settings)
    _configure_proxy(c, settings)
    _configure_servers(c, settings)
    c.JupyterHub.spawner_class = "kubespawner.KubeSpawner"


def _configure_hub(c: Any, settings: Mapping[str, Any]) -> None:
    hub = c.JupyterHub
    hub.authenticator_class = DoorAuthenticator
    c.Authenticator.allow_all = True
    # A browser may have the hub's cookie of another person: the hub compares both at each request.
    c.Authenticator.auth_refresh_age = -1
    hub.bind_url = f"http://{settings['address']}:{settings['proxy_port']}/notebooks/"
    hub.hub_bind_url = f"http://{settings['address']}:{settings['hub_port']}"
    hub.hub_connect_url = f"http://127.0.0.1:{settings['hub_port']}"
    hub.db_url = f"sqlite:///{settings['data']}/jupyterhub.sqlite"
    hub.cookie_secret_file = f"{settings['data']}/cookie_secret"
    hub.shutdown_on_logout = False
    hub.cleanup_servers = False  # a new version of the hub stops no server
    hub.last_activity_interval = _activity_seconds(settings)
    hub.services = [
        {
            "name": CULLER,
            "command": [sys.executable, "-m", "jupyterhub_idle_culler", f"--timeout={60 * settings['idle_minutes']}"],
        }
    ]
    hub.load_roles = [
        {
            "name": CULLER,
            "scopes": ["list:users", "read:users:activity", "read:servers", "delete:servers"],
            "services": [CULLER],
        }
    ]


def _configure_proxy(c: Any, settings: Mapping[str, Any]) -> None:
    c.ConfigurableHTTPProxy.command = settings["proxy"]
    c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{settings['proxy_api_port']}"
    c.ConfigurableHTTPProxy.pid_file = f"/tmp/jupyterhub-proxy-{os.getpid()}.pid"


def _configure_servers(c: Any, settings: Mapping[str, Any]) -> None:
    spawner = c.KubeSpawner
    spawner.hub_connect_url = settings["hub_url"]
    spawner.image = settings["image"]
    # KubeSpawner writes its command to the arguments of the container, and images have an entry point.
    start = 'mkdir -p "$HOME/examples"; cp -n "$0"/* "$HOME/examples"; exec python3 "$@"'
    spawner.cmd = ["-m", "jupyterhub.singleuser"]
    spawner.args = SERVER_OPTIONS
    spawner.notebook_dir = HOME
    spawner.default_url = "/lab"
    spawner.start_timeout = spawner.http_timeout = START_SECONDS
    c.Spawner.environment = {
        "JUPYTERHUB_ACTIVITY_INTERVAL": str(_activity_seconds(settings)),
        **settings["environment"],
    }
    spawner.working_dir = HOME
    spawner.common_labels = settings["labels"]
    spawner.storage_pvc_ensure = True
    spawner.storage_class = settings["storage_class"]
    spawner.storage_capacity = f"{settings['storage_gb']}Gi"
    spawner.storage_access_modes = ["ReadWriteOnce"]
    spawner.pvc_name_template = "notebook-{username}"
    claim = {"persistentVolumeClaim": {"claimName": "{pvc_name}"}}
    spawner.volumes = [{"name": "home", **claim}, {"name": "tmp", "emptyDir": {"sizeLimit": "8Gi"}}]
    spawner.volume_mounts = [{"name": "home", "mountPath": HOME}, {"name": "tmp", "mountPath": "/tmp"}]
    spawner.delete_pvc = False
    spawner.cpu_guarantee, spawner.mem_guarantee = 0.1, "256M"
    spawner.extra_resource_guarantees = {"ephemeral-storage": "100Mi"}
    spawner.extra_resource_limits = {"ephemeral-storage": "10Gi"}
    spawner.extra_pod_config = settings["pod"]
    spawner.extra_container_config = {
        "command": ["sh", "-c", start, settings["examples"]],
        "envFrom": [{"secretRef": {"name": settings["secret"]}}],
        "securityContext": settings["container_security"],
    }
    spawner.automount_service_account_token = False
    spawner.profile_list = partial(_profiles, settings)


def _activity_seconds(settings: Mapping[str, Any]) -> int:
    """Return the seconds between two reports of activity. With long ones, a server in use would seem idle."""
    return min(300, 15 * int(settings["idle_minutes"]))


def _profiles(settings: Mapping[str, Any], spawner: Any) -> list[dict[str, Any]]:
    """Return the servers from which a person chooses.

    Raises:
        HTTPError: the stack has teams, and the person is in none of them.
    """
    profiles = server_profiles(settings, [group.name for group in spawner.user.groups])
    if not profiles:
        raise HTTPError(403, "A notebook belongs to a team, and you are in none: see workloads:teams in the settings.")
    return profiles
