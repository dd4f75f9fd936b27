"""The rules of `platform:stores`, which depend on the machines of the stack."""

from __future__ import annotations

from settings.infra import InfraSettings
from settings.platform import PlatformSettings

STORE_MEMBERS = 3
"""Machines of replicated stores: with two, the death of one would stop the writes."""


def has_replicated_stores(infra: InfraSettings, platform: PlatformSettings) -> bool:
    """Return True for `platform:stores: replicated`, and without the setting if there are machines for it."""
    if platform.stores or infra.cluster != "kubeadm" or platform.tracking.external:
        return platform.stores == "replicated"
    return (_machine_count(infra) or 0) >= STORE_MEMBERS


def check_stores(infra: InfraSettings, platform: PlatformSettings) -> None:
    """Check that a stack with `platform:stores: replicated` can have such stores.

    Raises:
        ValueError: it has no cluster, too few machines, or stores in `platform:tracking`.
    """
    if platform.stores != "replicated":
        return
    if infra.cluster == "none":
        raise ValueError("platform:stores: replicated needs a cluster, and infra:cluster is none; set single")
    machines = _machine_count(infra)
    if machines is not None and machines < STORE_MEMBERS:
        raise ValueError(
            f"platform:stores: replicated needs {STORE_MEMBERS} machines, and the settings have {machines}; add "
            "machines, or set single"
        )
    if platform.tracking.external:
        raise ValueError(
            "platform:stores: replicated stores hold all data of MLflow, and platform:tracking names other stores; "
            "remove database_url and artifacts, or set platform:stores: single"
        )


def _machine_count(infra: InfraSettings) -> int | None:
    """Return the number of machines, None for a cluster that exists."""
    if infra.machines == "lab":
        return infra.lab.size
    if infra.hosts and infra.machines == "hosts":
        return len(infra.hosts.machines)
    if infra.azure and infra.machines == "azure":
        return infra.azure.control_planes + infra.azure.workers
    return infra.azure.aks.nodes if infra.azure and infra.azure.aks else None
