"""A virtual network of Azure with its firewall rules and public addresses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
from pulumi_azure_native import network

from infra.azure.cloud_init import API_PORT
from infra.azure.context import AzureContext
from settings.machines.azure_settings import AzureSettings
from settings.types import Subnet

SSH_PORT = 22
NODE_PORTS = "30000-32767"
BASTION = 4
"""Position of the bastion's address in the subnet. Azure reserves the first four addresses and the last."""
FIRST_NODE = 10
"""Position of the first control plane's address in the subnet. Workers follow it; other control planes precede it."""


@dataclass(frozen=True)
class VirtualNetwork:
    """A network with one subnet, whose security group applies to all its machines."""

    addresses: Subnet
    subnet: pulumi.Output[str]
    """Azure's id of the subnet."""


def virtual_network(
    context: AzureContext,
    gateway: network.PublicIPAddress | None,
    api_clients: Sequence[network.PublicIPAddress],
) -> VirtualNetwork:
    """Create the network of the settings. Its first 256 addresses are the machines' subnet.

    Args:
        context: the resource group.
        gateway: the address of machines without a public address for outgoing connections; None if all have one.
        api_clients: further addresses that use the API server: those of machines that reach it at a load balancer.
    """
    addresses = next(context.settings.network.subnets(new_prefix=24))
    clients = [address.ip_address.apply(lambda known: f"{known}/32") for address in api_clients]
    rules = network.NetworkSecurityGroup(
        "rules", security_rules=_rules(context.settings, addresses, clients), **context.common
    )
    parent_network = network.VirtualNetwork(
        "network",
        address_space=network.AddressSpaceArgs(address_prefixes=[str(context.settings.network)]),
        **context.common,
    )
    subnet = network.Subnet(
        "subnet",
        resource_group_name=context.group.name,
        virtual_network_name=parent_network.name,
        address_prefix=str(addresses),
        network_security_group=network.NetworkSecurityGroupArgs(id=rules.id),
        nat_gateway=_nat_gateway(context, gateway) if gateway else None,
        # Outbound traffic uses the machines' public addresses or the gateway, never a default address of Azure.
        default_outbound_access=False,
        opts=context.opts,
    )
    return VirtualNetwork(addresses, subnet.id)


def public_address(name: str, context: AzureContext, label: str | None = None) -> network.PublicIPAddress:
    """Create a static public address. With a label it has a DNS name, which Azure makes unique by a suffix."""
    return network.PublicIPAddress(
        name,
        sku=network.PublicIPAddressSkuArgs(name="Standard"),
        public_ip_allocation_method="Static",
        dns_settings=network.PublicIPAddressDnsSettingsArgs(
            domain_name_label=label,
            domain_name_label_scope=network.PublicIpAddressDnsSettingsDomainNameLabelScope.RESOURCE_GROUP_REUSE,
        )
        if label
        else None,
        **context.common,
    )


def _nat_gateway(context: AzureContext, address: network.PublicIPAddress) -> network.SubResourceArgs:
    """Create the gateway through which machines without a public address reach package and image registries."""
    gateway = network.NatGateway(
        "gateway",
        sku=network.NatGatewaySkuArgs(name="Standard"),
        public_ip_addresses=[network.SubResourceArgs(id=address.id)],
        **context.common,
    )
    return network.SubResourceArgs(id=gateway.id)


def _rules(
    settings: AzureSettings, addresses: Subnet, api_clients: Sequence[pulumi.Input[str]]
) -> list[network.SecurityRuleArgs]:
    """Return the inbound rules. The default rules of Azure's security groups deny all other traffic."""
    operator: list[pulumi.Input[str]] = [str(settings.operator)]
    api_from = [*operator, *(str(source) for source in settings.api_from), *api_clients]
    return [
        _allow("ssh", 100, operator, "Tcp", str(SSH_PORT)),
        _allow("kubernetes-api", 110, api_from, "Tcp", str(API_PORT)),
        _allow("node-ports", 120, [*operator, *(str(source) for source in settings.services_from)], "Tcp", NODE_PORTS),
        _allow("among-nodes", 130, [str(addresses)], "*", "*"),
    ]


def _allow(
    name: str, priority: int, sources: Sequence[pulumi.Input[str]], protocol: str, ports: str
) -> network.SecurityRuleArgs:
    return network.SecurityRuleArgs(
        name=name,
        priority=priority,
        direction="Inbound",
        access="Allow",
        protocol=protocol,
        source_address_prefixes=list(sources),
        source_port_range="*",
        destination_address_prefix="*",
        destination_port_range=ports,
    )
