"""Settings of the lab in which an update of another stack is rehearsed."""

from __future__ import annotations

import copy
import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from infra.errors import UserError

OWN = {
    "infra:hosts": "the machines of the lab are inside this computer",
    "infra:azure": "the machines of the lab are inside this computer",
    "platform:registry": "the lab pulls from the bundle's registry",
    "platform:backup": "nothing of a rehearsal is kept",
    "platform:keep": "nothing of a rehearsal is kept",
    "platform:allow_plain_http": "the network of a lab needs no permission",
    "workloads:models_from": "the lab trains the models itself",
}
"""Settings that a rehearsal leaves out, and why."""
OWN_FIELDS = {
    "platform:tracking": ("database_url", "artifacts", "upgrade_database"),
    "platform:kubeflow": ("database", "objects"),
    "platform:monitoring": ("alerts_url",),
    "platform:blobs": ("account_url", "account_key"),
    "platform:door": ("certificate", "oidc", "users"),
}
"""Fields of settings that name the stores, receivers and persons of the original stack."""
PAGES = ("platform:tracking", "platform:monitoring", "platform:kubeflow")
"""Settings with the type of a page's Service."""
SUBNETS = [ipaddress.IPv4Network(f"10.{number}.78.0/24") for number in range(21, 32)]
"""Networks for a rehearsal. The default networks of stacks, pods and Services are not among them."""
MOST_WORKERS = 2


def rehearsal_settings(
    written: Mapping[str, Any], subnet: ipaddress.IPv4Network, machines: tuple[int, int], blob_port: int
) -> dict[str, Any]:
    """Return the settings of a lab with those of another stack: they name no machine, store or person of the original.

    Args:
        written: the settings of the original by `namespace:name`.
        subnet: the network of the lab.
        machines: numbers of control planes and workers of the original.
        blob_port: the port of the emulator of Azure Blob Storage.
    """
    settings = {name: copy.deepcopy(value) for name, value in written.items() if name not in OWN}
    for name, fields in OWN_FIELDS.items():
        for each in fields:
            if isinstance(settings.get(name), dict):
                settings[name].pop(each, None)
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
        settings["platform:blobs"]["port"] = blob_port
    _open_services(settings, str(subnet[219]))
    return settings


def _open_services(settings: dict[str, Any], address: str) -> None:
    """Give each service an address outside the cluster, where the rehearsal measures it."""
    door = settings.get("platform:door")
    if door is None:
        settings["serving:service"] = "LoadBalancer"
        settings.setdefault("platform:tracking", {})
        for name in PAGES:
            if name in settings:
                settings[name] = {**(settings[name] or {}), "service": "LoadBalancer"}
        return
    door |= {"host": address, "address": address}
    for pipeline in (settings.get("workloads:pipelines") or {}).values():
        if pipeline.get("serve"):
            pipeline["visibility"] = "public"
    for team in (settings.get("workloads:teams") or {}).values():
        for persons in ("people", "groups"):
            team.pop(persons, None)


def free_subnet(used: Iterable[str], taken: Sequence[str]) -> ipaddress.IPv4Network:
    """Return a network of `SUBNETS` without any of the addresses in use.

    Args:
        used: addresses of this computer.
        taken: addresses of networks that the lab needs itself, for pods and Services.

    Raises:
        UserError: none is left.
    """
    addresses = [ipaddress.ip_address(each) for each in used]
    networks = [ipaddress.IPv4Network(each) for each in taken]
    for subnet in SUBNETS:
        if not any(each in subnet for each in addresses) and not any(each.overlaps(subnet) for each in networks):
            return subnet
    raise UserError(
        f"a rehearsal needs one of the networks {SUBNETS[0]} to {SUBNETS[-1]}, and all are in use on this computer: "
        "destroy another lab first"
    )
