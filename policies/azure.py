"""Policies for Azure resources."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Any

from policies.rendered_values import as_list, as_mapping, policy

SSH_PORT = 22
SHORTEST_PREFIX = 8
"""Shortest prefix length that is not the whole internet."""
WORLD = ("*", "internet", "any")


def world_open_ssh(kind: str, properties: Mapping[str, Any]) -> Iterator[str]:
    """Report security rules that allow SSH from the whole internet."""
    rules = as_list(properties.get("securityRules")) if kind.endswith(":NetworkSecurityGroup") else []
    if kind == "azure-native:network:SecurityRule":
        rules = [properties]
    for rule in map(as_mapping, rules):
        inbound = (rule.get("access"), rule.get("direction")) == ("Allow", "Inbound")
        ports = [rule.get("destinationPortRange"), *as_list(rule.get("destinationPortRanges"))]
        sources = [rule.get("sourceAddressPrefix"), *as_list(rule.get("sourceAddressPrefixes"))]
        world = [source for source in sources if _is_world(source)]
        if inbound and rule.get("protocol") != "Udp" and world and any(_has_ssh(port) for port in ports):
            name = rule.get("name", "rule")
            yield f"{name} opens SSH to {world[0]}; list the addresses that may use it (infra:azure.operator)"


def public_storage(kind: str, properties: Mapping[str, Any]) -> Iterator[str]:
    """Report storage that allows anonymous reads."""
    if kind == "azure-native:storage:StorageAccount" and properties.get("allowBlobPublicAccess", True) is True:
        yield "anonymous reads of its blobs can be enabled; set allow_blob_public_access=False"
    if kind == "azure-native:storage:BlobContainer" and properties.get("publicAccess") in ("Blob", "Container"):
        yield f"anonymous reads are enabled (publicAccess: {properties['publicAccess']}); set public_access to None"


def unpinned_machine(kind: str, properties: Mapping[str, Any]) -> Iterator[str]:
    """Report virtual machines whose image has no version."""
    if kind == "azure-native:compute:VirtualMachine":
        image = as_mapping(as_mapping(properties.get("storageProfile")).get("imageReference"))
        if image.get("version") == "latest":
            yield "its image is `latest`, which changes without notice; set a version (infra:azure.image)"


def _is_world(source: Any) -> bool:
    if not isinstance(source, str):
        return False
    try:
        return ipaddress.ip_network(source, strict=False).prefixlen < SHORTEST_PREFIX
    except ValueError:
        return source.lower() in WORLD


def _has_ssh(ports: Any) -> bool:
    if not isinstance(ports, str):
        return False
    first, _, last = ports.partition("-")
    return ports == "*" or int(first) <= SSH_PORT <= int(last or first)


POLICIES = [
    policy("no-world-open-ssh", "SSH is open to listed addresses, never to the whole internet", world_open_ssh),
    policy("no-public-storage", "Reading blobs requires a key", public_storage),
    policy("no-unpinned-machine-image", "The image of a machine has a version", unpinned_machine),
]
