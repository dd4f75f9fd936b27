"""The rules of addresses: those of machines, of their API server, of pods and Services, and of the load balancer."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv4Network

from settings.infra import InfraSettings
from settings.machines.lab_settings import BRIDGE, VIRTUAL_ADDRESS, LabSettings, machine_positions
from settings.platform import PlatformSettings


def check_addresses(infra: InfraSettings, platform: PlatformSettings, services: Mapping[str, str]) -> None:
    """Check that each address has one use, and that the door and other Services can get theirs.

    Args:
        infra: the machines and the cluster.
        platform: the services, with the load balancer and the door.
        services: types of Services with an address outside the cluster, by their setting.

    Raises:
        ValueError: an address has two uses, or a Service cannot get one.
    """
    if infra.cluster == "kubeadm":
        _check_machines(infra)
        taken = dict(_taken(infra, platform))
        _check_ranges(infra, taken)
        _check_pool(infra, platform, taken)
        without = [setting for setting, kind in services.items() if kind == "LoadBalancer"]
        if without and platform.load_balancer is None:
            raise ValueError(
                f"{', '.join(without)}: LoadBalancer needs addresses, and a cluster of kubeadm has none without "
                "platform:load_balancer; set platform:load_balancer.addresses, or ClusterIP"
            )
    _check_door(platform)


def _taken(infra: InfraSettings, platform: PlatformSettings) -> Iterator[tuple[str, IPv4Address]]:
    """Yield the known addresses in the network of the machines, by their setting. Host names are left out."""
    if infra.machines == "lab":
        yield from _of_lab(infra.lab)
        if infra.lab.control_planes > 1 and infra.kubernetes.virtual_address is None:
            yield "the address of the API server in infra:lab.subnet", infra.lab.subnet[VIRTUAL_ADDRESS]
    if infra.kubernetes.virtual_address:
        yield "infra:kubernetes.virtual_address", infra.kubernetes.virtual_address
    given = {"platform:registry.address": platform.registry.address}
    if infra.machines == "hosts" and infra.hosts:
        given["infra:kubernetes.endpoint"] = infra.kubernetes.endpoint
        for host in infra.hosts.machines:
            given[f"the address of {host.name} in infra:hosts.machines"] = host.address
            given[f"the private_address of {host.name} in infra:hosts.machines"] = host.private_address
    for setting, text in given.items():
        if address := _ipv4(text):
            yield setting, address


def _of_lab(lab: LabSettings) -> Iterator[tuple[str, IPv4Address]]:
    """Yield the addresses of this computer and of the machines in a lab."""
    machines = [(name, position) for name, _, position in machine_positions(lab)]
    needed = max(position for _, position in machines) + 2  # with the broadcast address
    if lab.subnet.num_addresses < needed:
        raise ValueError(
            f"infra:lab.subnet: {lab.subnet} has {lab.subnet.num_addresses} addresses, and {lab.size} machines need "
            f"{needed}; set a larger subnet, such as a /24"
        )
    yield "the address of this computer in infra:lab.subnet", lab.subnet[BRIDGE]
    for name, position in machines:
        yield f"the address of {name} in infra:lab.subnet", lab.subnet[position]


def _check_machines(infra: InfraSettings) -> None:
    """Require that no two machines have one address. Behind one address, SSH may have a port for each machine."""
    owner: dict[str | tuple[str, int], str] = {}
    for host in infra.hosts.machines if infra.machines == "hosts" and infra.hosts else ():
        private, login = host.private_address or host.address, (host.address, host.port)
        for address, key in ((private, private), (host.address, login)):
            if other := owner.get(key):
                raise ValueError(
                    f"infra:hosts.machines: {other} and {host.name} have one address, {address}; set address or "
                    "private_address of one of the two to another one"
                )
        owner[private] = owner[login] = host.name


def _check_ranges(infra: InfraSettings, taken: Mapping[str, IPv4Address]) -> None:
    """Require that the ranges of pods and Services have no address of a machine."""
    for name, subnet in _cluster_ranges(infra).items():
        for setting, address in taken.items():
            if address in subnet:
                raise ValueError(
                    f"infra:kubernetes.{name}: {subnet} contains {address}, {setting}; set a range outside of the "
                    "machines' network"
                )


def _cluster_ranges(infra: InfraSettings) -> dict[str, IPv4Network]:
    """Return the addresses of pods and those of Services, by their setting."""
    return {"pod_subnet": infra.kubernetes.pod_subnet, "service_subnet": infra.kubernetes.service_subnet}


def _check_pool(infra: InfraSettings, platform: PlatformSettings, taken: Mapping[str, IPv4Address]) -> None:
    """Require that the load balancer gives no address away that is in use, or that no machine can announce."""
    pool = platform.load_balancer
    if pool is None:
        return
    named = f"platform:load_balancer.addresses: {pool.addresses}"
    for setting, address in taken.items():
        if pool.contains(address):
            raise ValueError(f"{named} contains {address}, {setting}; set a range of unused addresses")
    first, last = pool.ends
    for name, subnet in _cluster_ranges(infra).items():
        if first <= subnet[-1] and last >= subnet[0]:
            raise ValueError(
                f"{named} has addresses of {subnet}, infra:kubernetes.{name}; set unused addresses of the machines' "
                "network"
            )
    lab = infra.lab.subnet
    if infra.machines == "lab" and not lab[0] < first <= last < lab[-1]:
        raise ValueError(f"{named} is not inside of {lab}, infra:lab.subnet; set unused addresses of that subnet")


def _check_door(platform: PlatformSettings) -> None:
    """Require that MetalLB can give the door its address."""
    door, pool = platform.door, platform.load_balancer
    address = _ipv4(door.service_address) if door else None
    if door is None or pool is None or address is None or pool.contains(address):
        return
    setting = "platform:door.address" if door.address else "platform:door.host"
    raise ValueError(
        f"{setting}: {address} is outside of platform:load_balancer.addresses, {pool.addresses}, so MetalLB cannot "
        "give it to the door; set platform:door.address to one of these, or add it to them"
    )


def _ipv4(text: str | None) -> IPv4Address | None:
    """Return the address in a text, None for a host name."""
    try:
        return ipaddress.IPv4Address(text or "")
    except ValueError:
        return None
