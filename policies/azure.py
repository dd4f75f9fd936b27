"""What no resource of Azure may be."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Any

from policies.values import listed, mapping, policy

SSH_PORT = 22
WIDEST = 8
"""A range of more addresses than a /8 has is the world."""
WORLD = ("*", "internet", "any")


def world_open_ssh(kind: str, properties: Mapping[str, Any]) -> Iterator[str]:
    rules = listed(properties.get("securityRules")) if kind.endswith(":NetworkSecurityGroup") else []
    if kind == "azure-native:network:SecurityRule":
        rules = [properties]
    for rule in map(mapping, rules):
        lets_in = (rule.get("access"), rule.get("direction")) == ("Allow", "Inbound") and rule.get("protocol") != "Udp"
        ports = [rule.get("destinationPortRange"), *listed(rule.get("destinationPortRanges"))]
        sources = [rule.get("sourceAddressPrefix"), *listed(rule.get("sourceAddressPrefixes"))]
        world = [source for source in sources if _is_world(source)]
        if lets_in and world and any(_has_ssh(port) for port in ports):
            name = rule.get("name", "rule")
            yield f"{name} opens SSH to {world[0]}; name the addresses that may use it (infra:azure.operator)"


def public_storage(kind: str, properties: Mapping[str, Any]) -> Iterator[str]:
    if kind == "azure-native:storage:StorageAccount" and properties.get("allowBlobPublicAccess", True) is True:
        yield "anybody may be let in to read its blobs; set allow_blob_public_access=False"
    if kind == "azure-native:storage:BlobContainer" and properties.get("publicAccess") in ("Blob", "Container"):
        yield f"anybody can read it (publicAccess: {properties['publicAccess']}); set public_access to None"


def unpinned_machine(kind: str, properties: Mapping[str, Any]) -> Iterator[str]:
    if kind == "azure-native:compute:VirtualMachine":
        image = mapping(mapping(properties.get("storageProfile")).get("imageReference"))
        if image.get("version") == "latest":
            yield "its image is `latest`, which is another one every week; name a version (infra:azure.image)"


def _is_world(source: Any) -> bool:
    if not isinstance(source, str):
        return False
    try:
        return ipaddress.ip_network(source, strict=False).prefixlen < WIDEST
    except ValueError:
        return source.lower() in WORLD


def _has_ssh(ports: Any) -> bool:
    if not isinstance(ports, str):
        return False
    first, _, last = ports.partition("-")
    return ports == "*" or int(first) <= SSH_PORT <= int(last or first)


POLICIES = [
    policy("no-world-open-ssh", "SSH is open to named addresses, never to the world", world_open_ssh),
    policy("no-public-storage", "Nobody reads blobs without a key", public_storage),
    policy("no-unpinned-machine-image", "A machine's image is a numbered version", unpinned_machine),
]
