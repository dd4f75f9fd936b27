"""Addresses of machines, API server, pods, Services and the load balancer: each has one use."""

from __future__ import annotations

import json
from typing import Any

import pytest

from settings.errors import SettingsError
from settings.loading import load_settings


def host(name: str, address: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "address": address, "host_key": "ssh-ed25519 AAAA", **more}


PLANE = host("cp", "10.0.0.11", role="control-plane")
BALANCED = {"platform:load_balancer": {"addresses": "10.0.0.200-10.0.0.219"}}
LAB = {"infra:machines": "lab", "infra:hosts": None}


def hosts(*machines: dict[str, Any]) -> dict[str, Any]:
    return {"infra:hosts": {"user": "ops", "private_key": "k", "machines": list(machines)}}


def text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def load(changes: dict[str, Any]) -> object:
    settings: dict[str, Any] = {
        "infra:machines": "hosts",
        "infra:cluster": "kubeadm",
        "platform:pipelines": "job",
        **hosts(PLANE, host("w1", "10.0.0.12"), host("w2", "node-2.example.com", private_address="10.0.0.13")),
        **changes,
    }
    return load_settings("new", {name: text(value) for name, value in settings.items() if value is not None})


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"platform:load_balancer": {"addresses": "10.0.0.0/28"}},
            "platform:load_balancer.addresses: 10.0.0.0/28 contains 10.0.0.11, the address of cp in infra:hosts",
        ),
        (
            {"platform:load_balancer": {"addresses": "10.0.0.13-10.0.0.20"}},
            "contains 10.0.0.13, the private_address of w2 in infra:hosts.machines; set a range of unused addresses",
        ),
        (
            {**BALANCED, "infra:kubernetes": {"virtual_address": "10.0.0.219"}},
            "10.0.0.200-10.0.0.219 contains 10.0.0.219, infra:kubernetes.virtual_address",
        ),
        ({**BALANCED, "infra:kubernetes": {"endpoint": "10.0.0.200"}}, "10.0.0.200, infra:kubernetes.endpoint"),
        ({**BALANCED, "platform:registry": {"address": "10.0.0.201"}}, "10.0.0.201, platform:registry.address"),
        (
            {**LAB, "platform:load_balancer": {"addresses": "10.20.0.0-10.20.0.5"}},
            "contains 10.20.0.1, the address of this computer in infra:lab.subnet",
        ),
        (
            {**LAB, "platform:load_balancer": {"addresses": "10.20.0.13-10.20.0.20"}},
            "contains 10.20.0.13, the address of worker-2 in infra:lab.subnet",
        ),
        (
            {
                **LAB,
                "infra:lab": {"control_planes": 3},
                "platform:load_balancer": {"addresses": "10.20.0.8-10.20.0.10"},
            },
            "contains 10.20.0.10, the address of the API server in infra:lab.subnet",
        ),
        *[
            (
                {**LAB, "platform:load_balancer": {"addresses": addresses}},
                f"platform:load_balancer.addresses: {addresses} is not inside of 10.20.0.0/24, infra:lab.subnet; set",
            )
            for addresses in ("10.20.1.0/28", "10.20.0.250-10.20.0.255", "10.20.0.240-10.20.1.9")
        ],
        *[
            (
                {"platform:load_balancer": {"addresses": addresses}},
                f"load_balancer.addresses: {addresses} has addresses of {subnet}, infra:kubernetes.{name}; set",
            )
            for addresses, subnet, name in (
                ("10.32.7.0/24", "10.32.0.0/16", "pod_subnet"),
                ("10.96.255.1-10.112.0.1", "10.96.0.0/16", "service_subnet"),
                ("10.95.0.1-10.112.0.1", "10.96.0.0/16", "service_subnet"),
            )
        ],
        (
            {**LAB, "infra:lab": {"subnet": "10.20.0.0/29"}},
            "infra:lab.subnet: 10.20.0.0/29 has 8 addresses, and 3 mach",
        ),
        (
            {**BALANCED, "platform:door": {"host": "10.0.0.150"}},
            "platform:door.host: 10.0.0.150 is outside of platform:load_balancer.addresses, 10.0.0.200-10.0.0.219, so",
        ),
        (
            {**BALANCED, "platform:door": {"host": "ml.example.com", "address": "10.0.0.220"}},
            "platform:door.address: 10.0.0.220 is outside of platform:load_balancer.addresses",
        ),
        (
            {"serving:service": "LoadBalancer"},
            "serving:service: LoadBalancer needs addresses, and a cluster of kubeadm",
        ),
        (
            {"platform:allow_plain_http": "true", "platform:tracking": {"service": "LoadBalancer"}},
            "platform:tracking.service: LoadBalancer needs addresses",
        ),
        (
            {"infra:kubernetes": {"pod_subnet": "10.0.0.0/16"}},
            "infra:kubernetes.pod_subnet: 10.0.0.0/16 contains 10.0.0.11, the address of cp in infra:hosts",
        ),
        ({"infra:kubernetes": {"service_subnet": "10.0.0.12/31"}}, "kubernetes.service_subnet: 10.0.0.12/31 contains"),
        (hosts(PLANE, host("w1", "10.0.0.11")), "infra:hosts.machines: cp and w1 have one address, 10.0.0.11; set"),
        (hosts(PLANE, host("w1", "10.0.0.11", port=2022)), "cp and w1 have one address, 10.0.0.11"),
        (hosts(PLANE, host("w1", "10.0.0.12", private_address="10.0.0.11")), "cp and w1 have one address, 10.0.0.11"),
        (
            hosts({**PLANE, "private_address": "10.9.0.1"}, host("w1", "10.0.0.11", private_address="10.9.0.2")),
            "cp and w1 have one address, 10.0.0.11",
        ),
        *[
            ({"infra:kubernetes": {"endpoint": endpoint}}, "infra:kubernetes.endpoint: write a host name or an IPv4")
            for endpoint in ("https://lb.example.com", "lb.example.com:6443", "lb.example.com/", "fd00::1", "LB")
        ],
        (
            {**LAB, "infra:kubernetes": {"endpoint": "lb.example.com"}},
            "kubernetes.endpoint: lb.example.com: this is a load balancer for machines: hosts, and machines is lab",
        ),
        (
            {
                **{"infra:machines": "azure", "infra:hosts": None, "infra:azure": {"operator": "192.0.2.1"}},
                "infra:kubernetes": {"endpoint": "lb.example.com"},
            },
            "kubernetes.endpoint: lb.example.com: this is a load balancer for machines: hosts, and machines is azure",
        ),
        *[
            (
                {"infra:kubernetes": {"version": version}},
                f"infra:kubernetes.version: {version} is too old: `make up` runs",
            )
            for version in ("1.28.0", "1.31.9")
        ],
    ],
)
def test_load_with_an_address_of_two_uses_names_both(changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(SettingsError) as error:
        load(changes)
    assert expected in str(error.value)


@pytest.mark.parametrize(
    "changes",
    [
        {**BALANCED, "serving:service": "LoadBalancer", "platform:door": None},
        {**BALANCED, "platform:door": {"host": "10.0.0.219"}},
        {**BALANCED, "platform:door": {"host": "203.0.113.7", "address": "10.0.0.200"}},
        {**BALANCED, "platform:door": {"host": "ml.example.com"}},
        {"platform:load_balancer": {"addresses": "10.0.0.14/31"}, "serving:service": "LoadBalancer"},
        {"serving:service": "NodePort"},
        {"infra:kubernetes": {"endpoint": "lb.example.com", "version": "1.32.0"}},
        {"infra:kubernetes": {"endpoint": "10.0.0.11", "version": "1.99.1"}},
        hosts(
            host("cp", "203.0.113.7", role="control-plane", port=2201, private_address="10.0.0.11"),
            host("w1", "203.0.113.7", port=2202, private_address="10.0.0.12"),
        ),
        {
            **LAB,
            "infra:lab": {"size": 10, "control_planes": 5},
            "platform:load_balancer": {"addresses": "10.20.0.17-10.20.0.99"},
        },
    ],
)
def test_load_with_addresses_of_one_use_succeeds(changes: dict[str, Any]) -> None:
    assert load(changes)


def test_load_of_a_vendors_cluster_without_a_load_balancer_of_this_program_succeeds() -> None:
    door = {"platform:door": '{"host": "203.0.113.7"}'}
    assert load_settings("managed", door)
    assert load_settings("managed", {"serving:service": "LoadBalancer"})
    with pytest.raises(
        SettingsError, match=r"platform:door\.host: 203\.0\.113\.7 is outside of platform:load_balancer"
    ):
        load_settings("managed", door | {"platform:load_balancer": '{"addresses": "203.0.113.8/31"}'})
