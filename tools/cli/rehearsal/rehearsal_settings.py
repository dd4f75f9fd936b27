"""Settings of a temporary lab that has what another stack has: for the rehearsal of an update, and for a drill."""

from __future__ import annotations

import copy
import secrets
from collections.abc import Callable, Mapping
from typing import Any

from tools.cli.rehearsal.temporary_lab import TemporaryNetwork

OWN = {
    "infra:hosts": "the machines of the lab are inside this computer",
    "infra:azure": "the machines of the lab are inside this computer",
    "infra:existing": "the machines of the lab are inside this computer",
    "infra:proxy": "the lab needs nothing from outside",
    "platform:storage": "the cluster of the lab has OpenEBS",
    "platform:storage_class": "the cluster of the lab has OpenEBS",
    "platform:metrics": "the cluster of the lab has metrics-server",
    "platform:registry": "the lab pulls from the bundle's registry",
    "platform:backup": "nothing of the lab is kept",
    "platform:backup_identity": "nothing of the lab is kept",
    "platform:keep": "nothing of the lab is kept",
    "platform:allow_plain_http": "the network of a lab needs no permission",
    "workloads:models_from": "the lab trains the models itself",
}
"""Settings that the lab does not have, and why."""
OWN_FIELDS = {
    "platform:tracking": ("database_url", "artifacts", "upgrade_database"),
    "platform:kubeflow": ("database", "objects"),
    "platform:monitoring": ("alerts_url",),
    "platform:blobs": ("account_url", "account_key"),
    "platform:door": ("certificate", "acme", "oidc", "users"),
}
"""Fields of settings that name the stores, receivers and persons of the original stack."""
VERSIONS = ("serving:canary", "workloads:adopt_champions")
"""Settings about versions of models that exist."""
PAGES = ("platform:tracking", "platform:monitoring", "platform:kubeflow")
"""Settings with the type of a page's Service."""
PIPELINES, TEAMS = "workloads:pipelines", "workloads:teams"
STAND_IN = "stand-in"
"""Person whose password is unknown, in place of the persons of the original: a team without persons is refused."""
MOST_WORKERS = 2


def rehearsal_settings(
    written: Mapping[str, Any], network: TemporaryNetwork, machines: tuple[int, int]
) -> dict[str, Any]:
    """Return the settings of a lab with those of another stack: they name no machine, store or person of the original.

    Args:
        written: the settings of the original by `namespace:name`.
        network: the network of the lab.
        machines: numbers of control planes and workers of the original.
    """
    settings = {name: copy.deepcopy(value) for name, value in written.items() if name not in OWN}
    for name, fields in OWN_FIELDS.items():
        for each in fields:
            if isinstance(settings.get(name), dict):
                settings[name].pop(each, None)
    subnet = network.subnet
    planes, workers = machines[0], min(machines[1], MOST_WORKERS)
    settings |= {"infra:machines": "lab", "infra:cluster": "kubeadm"}
    settings["infra:lab"] = {"size": planes + workers, "control_planes": planes, "subnet": str(subnet)}
    kubernetes = settings.get("infra:kubernetes") or {}
    kept = {key: value for key, value in kubernetes.items() if key in ("version", "pod_subnet", "service_subnet")}
    settings["infra:kubernetes"] = {**kept, "packages": "bundle"}
    settings["platform:weave_fast_datapath"] = False
    settings["platform:load_balancer"] = {"addresses": f"{subnet[200]}-{subnet[219]}"}
    if storage := (written.get("infra:azure") or {}).get("storage"):
        settings["platform:blobs"] = {**(settings.get("platform:blobs") or {}), "container": storage}
    if settings.get("platform:blobs") is not None:
        settings["platform:blobs"]["port"] = network.blob_port
    keep_pipelines(settings, lambda pipeline: not destination(pipeline))
    _open_services(settings, str(subnet[219]))
    return settings


def without_versions(written: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a lab without versions of models: its models are new, and each has one version."""
    settings = {name: copy.deepcopy(value) for name, value in written.items() if name not in VERSIONS}
    for pipeline in (settings.get(PIPELINES) or {}).values():
        if pipeline:
            pipeline.pop("version", None)
    return settings


def destination(pipeline: Mapping[str, Any] | None) -> str:
    """Return the address to which a pipeline writes, "" without one."""
    return str(((pipeline or {}).get("parameters") or {}).get("destination") or "")


def keep_pipelines(settings: dict[str, Any], keep: Callable[[Mapping[str, Any] | None], bool]) -> None:
    """Remove the other pipelines from the settings, and from their teams."""
    if PIPELINES not in settings:
        return
    kept = {name: pipeline for name, pipeline in (settings[PIPELINES] or {}).items() if keep(pipeline)}
    settings[PIPELINES] = kept
    for team in (settings.get(TEAMS) or {}).values():
        if "pipelines" in team:
            team["pipelines"] = [name for name in team["pipelines"] if name in kept]


def _open_services(settings: dict[str, Any], address: str) -> None:
    """Give each service an address outside the cluster, where this computer reaches it."""
    door = settings.get("platform:door")
    if door is None:
        settings["serving:service"] = "LoadBalancer"
        settings.setdefault("platform:tracking", {})
        for name in PAGES:
            if name in settings:
                settings[name] = {**(settings[name] or {}), "service": "LoadBalancer"}
        return
    door |= {"host": address, "address": address}
    for pipeline in (settings.get(PIPELINES) or {}).values():
        if pipeline and pipeline.get("serve"):
            pipeline["visibility"] = "public"
    if teams := settings.get(TEAMS):
        door["users"] = {STAND_IN: {"role": "administrator", "password_hash": _hash_of_unknown_password()}}
        for team in teams.values():
            team.pop("groups", None)
            team["people"] = [STAND_IN]


def _hash_of_unknown_password() -> str:
    import bcrypt

    return bcrypt.hashpw(secrets.token_bytes(32), bcrypt.gensalt()).decode()
