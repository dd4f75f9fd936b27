"""Several control planes in Azure behind a load balancer, and the zones of machines."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from settings.machines.azure_settings import AzureSettings
from tests.preview.graph import Graph

from .test_azure import OPERATOR, rules, site, user_data

PLANES = {"control-plane": "10.30.0.10", "control-plane-2": "10.30.0.9", "control-plane-3": "10.30.0.8"}
WORKERS = {"worker-1": "10.30.0.11", "worker-2": "10.30.0.12"}
BALANCER = "/mlplatform-production/providers/Microsoft.Network/loadBalancers/api"
POOL = f"{BALANCER}/backendAddressPools/api"


def pools(graph: Graph) -> dict[str, Any]:
    """Return the pools of the machines that are in one."""
    interfaces = graph.of("NetworkInterface").items()
    found = {name: each["ipConfigurations"][0].get("loadBalancerBackendAddressPools") for name, each in interfaces}
    return {name.removesuffix("-interface"): each for name, each in found.items() if each}


def test_several_control_planes_have_a_load_balancer_that_probes_their_api_servers() -> None:
    graph, outputs = site(control_planes=3)
    machines = outputs["machines"]
    assert {name: machine["private_address"] for name, machine in machines.items()} == PLANES | WORKERS
    assert [name for name, machine in machines.items() if machine["role"] == "control-plane"] == list(PLANES)
    (balancer,) = graph.of("LoadBalancer").values()
    assert balancer["loadBalancerName"] == "api"
    (front,) = balancer["frontendIPConfigurations"]
    assert front["publicIPAddress"] == {"id": "/api-address"}
    (probe,) = balancer["probes"]
    assert (probe["protocol"], probe["port"], probe["requestPath"]) == ("Https", 6443, "/readyz")
    (rule,) = balancer["loadBalancingRules"]
    assert (rule["frontendPort"], rule["backendPort"], rule["disableOutboundSnat"]) == (6443, 6443, True)
    assert rule["frontendIPConfiguration"] == {"id": f"{BALANCER}/frontendIPConfigurations/{front['name']}"}
    assert rule["probe"] == {"id": f"{BALANCER}/probes/{probe['name']}"}
    assert rule["backendAddressPool"] == {"id": POOL}
    assert pools(graph) == {name: [{"id": POOL}] for name in PLANES}
    assert outputs["endpoint"] == "production-api.cloudapp.azure.com"


def test_one_control_plane_has_no_load_balancer() -> None:
    graph, _ = site()
    assert not graph.of("LoadBalancer")
    assert pools(graph) == {}


def test_machines_reach_the_load_balancer_from_their_public_addresses() -> None:
    graph, _ = site(control_planes=3, workers=1)
    sources = rules(graph)["kubernetes-api"]["sourceAddressPrefixes"]
    assert sources == [OPERATOR, *(f"ip-of-{name}-address/32" for name in [*PLANES, "worker-1"])]
    assert rules(graph)["ssh"]["sourceAddressPrefixes"] == [OPERATOR]


def test_machines_behind_a_bastion_reach_the_load_balancer_from_their_gateway() -> None:
    graph, outputs = site(control_planes=3, bastion=True)
    assert rules(graph)["kubernetes-api"]["sourceAddressPrefixes"] == [OPERATOR, "ip-of-gateway-address/32"]
    assert graph.of("PublicIPAddress").keys() == {"bastion-address", "gateway-address", "api-address"}
    assert outputs["endpoint"] == "production-api.cloudapp.azure.com"
    assert "write_files" not in user_data(graph, "bastion")


def test_further_control_planes_leave_the_other_machines_as_they_are() -> None:
    one, three = site()[0], site(control_planes=3)[0]
    changed = {key for key in one.resources if "-key" not in key[1] and one.resources[key] != three.resources[key]}
    # Keys are new in each run of the mocks, so machines differ by their user data.
    assert {key for key in changed if key[0] != "VirtualMachine"} == {
        ("NetworkInterface", "control-plane-interface"),
        ("NetworkSecurityGroup", "rules"),
    }
    images = [
        {name: machine["storageProfile"] for name, machine in each.of("VirtualMachine").items() if name in WORKERS}
        for each in (one, three)
    ]
    assert images[0] == images[1]


def test_machines_and_their_disks_are_spread_over_the_zones() -> None:
    graph, _ = site(control_planes=3, zones=[1, 2, 3])
    for kind, suffix in (("VirtualMachine", ""), ("Disk", "-data")):
        found = {name.removesuffix(suffix): each["zones"] for name, each in graph.of(kind).items()}
        assert [found[name] for name in PLANES] == [["1"], ["2"], ["3"]]
        assert [found[name] for name in WORKERS] == [["2"], ["3"]]
    assert "zones" not in site()[0].of("Disk")["worker-1-data"]


@pytest.mark.parametrize(("wrong", "message"), [({"control_planes": 2}, "set 1, 3 or 5"), ({"zones": [0]}, "zones")])
def test_wrong_numbers_of_control_planes_and_zones_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        AzureSettings.model_validate({"operator": OPERATOR, **wrong})
