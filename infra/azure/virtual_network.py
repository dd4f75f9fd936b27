"""A virtual network of Azure, its rules, and public addresses in front of it."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_azure_native import network

from infra.azure.cloud_init import API_PORT
from infra.azure.context import AzureContext
from settings.infra import AzureSettings
from settings.types import Subnet

SSH_PORT = 22
NODE_PORTS = "30000-32767"
BASTION = 4
"""Its address in the subnet, of which Azure keeps the first four and the last for itself."""
FIRST_NODE = 10
"""The control plane's address in the subnet; workers follow it."""


@dataclass(frozen=True)
class VirtualNetwork:
    """A network with one subnet, whose security group applies to all that is in it."""

    addresses: Subnet
    subnet: pulumi.Output[str]
    """Its id."""


def virtual_network(place: AzureContext) -> VirtualNetwork:
    """The network of the settings, whose first 256 addresses are the machines' subnet."""
    addresses = next(place.settings.network.subnets(new_prefix=24))
    rules = network.NetworkSecurityGroup("rules", security_rules=_rules(place.settings, addresses), **place.common)
    whole = network.VirtualNetwork(
        "network",
        address_space=network.AddressSpaceArgs(address_prefixes=[str(place.settings.network)]),
        **place.common,
    )
    subnet = network.Subnet(
        "subnet",
        resource_group_name=place.group.name,
        virtual_network_name=whole.name,
        address_prefix=str(addresses),
        network_security_group=network.NetworkSecurityGroupArgs(id=rules.id),
        nat_gateway=_way_out(place) if place.settings.bastion else None,
        # Machines go out by their public addresses, or else by the gateway; never by one that Azure lends.
        default_outbound_access=False,
        opts=place.opts,
    )
    return VirtualNetwork(addresses, subnet.id)


def public_address(name: str, place: AzureContext, label: str | None = None) -> network.PublicIPAddress:
    """A public address that stays. With a label it has a DNS name, to which Azure adds what makes it the only one."""
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
        **place.common,
    )


def _way_out(place: AzureContext) -> network.SubResourceArgs:
    """The gateway by which machines without a public address reach package and image registries."""
    gateway = network.NatGateway(
        "gateway",
        sku=network.NatGatewaySkuArgs(name="Standard"),
        public_ip_addresses=[network.SubResourceArgs(id=public_address("gateway-address", place).id)],
        **place.common,
    )
    return network.SubResourceArgs(id=gateway.id)


def _rules(settings: AzureSettings, addresses: Subnet) -> list[network.SecurityRuleArgs]:
    """Who may come in. All else is refused by the rules that every security group of Azure ends with."""
    operator = [str(settings.operator)]
    return [
        _allow("ssh", 100, operator, "Tcp", str(SSH_PORT)),
        _allow("kubernetes-api", 110, operator + [str(other) for other in settings.api_from], "Tcp", str(API_PORT)),
        _allow("node-ports", 120, operator + [str(other) for other in settings.services_from], "Tcp", NODE_PORTS),
        _allow("among-nodes", 130, [str(addresses)], "*", "*"),
    ]


def _allow(name: str, priority: int, sources: list[str], protocol: str, ports: str) -> network.SecurityRuleArgs:
    return network.SecurityRuleArgs(
        name=name,
        priority=priority,
        direction="Inbound",
        access="Allow",
        protocol=protocol,
        source_address_prefixes=sources,
        source_port_range="*",
        destination_address_prefix="*",
        destination_port_range=ports,
    )
