"""Settings of the addresses of Services."""

from __future__ import annotations

import ipaddress

from pydantic import field_validator

from settings.types import Section


class LoadBalancerSettings(Section):
    """MetalLB, which gives addresses to Services of type LoadBalancer."""

    addresses: str
    """Unused addresses in the network of the machines, as `first-last` or as a subnet in CIDR notation."""

    @field_validator("addresses")
    @classmethod
    def _check_range(cls, addresses: str) -> str:
        first, _, last = addresses.partition("-")
        if not last:
            return str(ipaddress.IPv4Network(addresses))
        if ipaddress.IPv4Address(first) > ipaddress.IPv4Address(last):
            raise ValueError(f"{first} comes after {last}; write the lower address first")
        return addresses

    def contains(self, address: ipaddress.IPv4Address) -> bool:
        """Return True if the load balancer may give the address to a Service."""
        first, last = self.ends
        return first <= address <= last

    @property
    def ends(self) -> tuple[ipaddress.IPv4Address, ipaddress.IPv4Address]:
        """The lowest and the highest address."""
        first, _, last = self.addresses.partition("-")
        if not last:
            subnet = ipaddress.IPv4Network(first)
            return subnet[0], subnet[-1]
        return ipaddress.IPv4Address(first), ipaddress.IPv4Address(last)
