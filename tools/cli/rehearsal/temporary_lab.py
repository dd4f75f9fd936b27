"""Network and settings of a lab for the time of a drill or a rehearsal."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from infra.errors import UserError
from infra.lab.bridge import link_addresses
from infra.local.free_ports import free_ports
from settings.infra import KubernetesSettings
from settings.loading import merged_settings, parse_stack_file
from tools.bootstrap.paths import PROJECT
from tools.cli.backup.stack_state import pulumi_config
from tools.cli.pulumi_command import Pulumi
from tools.cli.rehearsal.temporary_stack import write_marked_settings

SUBNETS = [ipaddress.IPv4Network(f"10.{number}.78.0/24") for number in range(21, 32)]
"""Networks for temporary labs. The default networks of stacks, pods and Services are not among them."""


@dataclass(frozen=True)
class TemporaryNetwork:
    """Network of the lab's machines, and port of its emulator of Azure Blob Storage on this computer."""

    subnet: ipaddress.IPv4Network
    blob_port: int


def free_lab_network(kubernetes: KubernetesSettings) -> TemporaryNetwork:
    """Return a network that neither this computer nor the pods and Services of the settings use.

    Raises:
        UserError: all networks for temporary labs are in use.
    """
    used = [address for _, found in link_addresses() for address in found]
    (port,) = free_ports(1)
    return TemporaryNetwork(free_subnet(used, [str(kubernetes.pod_subnet), str(kubernetes.service_subnet)]), port)


def free_subnet(used: Iterable[str], taken: Iterable[str]) -> ipaddress.IPv4Network:
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
        f"a temporary lab needs one of the networks {SUBNETS[0]} to {SUBNETS[-1]}, and all are in use on this "
        "computer: destroy another lab first"
    )


def next_settings(pulumi: Pulumi) -> tuple[dict[str, Any], frozenset[str]]:
    """Return the settings that the next `up` of a stack takes, and the names of the secret ones."""
    file = PROJECT / f"Pulumi.{pulumi.name}.yaml"
    committed = parse_stack_file(file.name, file.read_bytes()) if file.is_file() else {}
    config = pulumi_config(pulumi)
    written = merged_settings(committed, {name: value["value"] for name, value in config.items()})
    return written, frozenset(name for name, value in config.items() if value.get("secret"))


def write_settings(stack: Pulumi, settings: Mapping[str, Any], secrets: frozenset[str]) -> None:
    """Write the settings of a lab: secret ones through standard input into Pulumi's encrypted file."""
    for name in pulumi_config(stack):
        stack.output("config", "rm", name)
    for name in secrets & settings.keys():
        value = settings[name]
        text = value if isinstance(value, str) else json.dumps(value)
        stack.output("config", "set", "--secret", name, stdin=text)
    write_marked_settings(stack, {name: value for name, value in settings.items() if name not in secrets})
