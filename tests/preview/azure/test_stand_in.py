"""Previews of Azure resources by the real engine and SDK, with the stand-in plugin."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pulumi.runtime.proto import provider_pb2

from airgap.stand_ins.protocol.property_values import UNKNOWN, Properties, Secret, Value, encode
from tests.command.plugin import EXECUTABLE as COMMAND_PROVIDER
from tests.command.plugin import Plugin, Refused
from tests.command.stack import Stack, search_path
from tests.harness import CHECKOUT
from tests.preview.graph import key_pair

PLUGIN = CHECKOUT / "airgap" / "stand_ins" / "azure_native" / "pulumi-resource-azure-native"
pytestmark = pytest.mark.skipif(
    shutil.which("pulumi", path=search_path()) is None, reason="no Pulumi CLI here: `make tools` brings one"
)


def stack(folder: Path, program: str, **environment: str) -> Stack:
    """Return a stack whose plugins are the stand-ins."""
    path = os.pathsep.join([str(PLUGIN.parent), str(COMMAND_PROVIDER.parent), search_path()])
    return Stack(folder, program, PATH=path, **environment)


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Stack:
    program = Path(__file__).with_name("azure_program.py").read_text()
    return stack(tmp_path_factory.mktemp("machines"), program, SETTINGS="{}")


def preview(machines: Stack, **settings: Any) -> dict[str, Any]:
    machines.environment["SETTINGS"] = json.dumps({"operator": "192.0.2.1"} | settings)
    output = machines.run("preview", "--json")
    planned: dict[str, Any] = json.loads(output[output.index("{") :])
    return planned


def of_type(planned: dict[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    """Return the planned inputs of one type, by resource name."""
    inputs = {}
    for step in planned["steps"]:
        *_, type_path, name = step["urn"].split("::")
        if type_path.split(":")[-1] == kind:
            inputs[name] = step["newState"].get("inputs", {})
    return inputs


def test_preview_first_lists_machines_and_their_commands(machines: Stack) -> None:
    key = key_pair()["private_key"]
    planned = preview(machines, bastion=True, workers=1, private_key=key, storage="datasets")
    assert planned["changeSummary"].keys() == {"create"}
    assert of_type(planned, "VirtualMachine").keys() == {"bastion", "control-plane", "worker-1"}
    assert of_type(planned, "Command").keys() == {"control-plane-uptime", "worker-1-uptime"}
    for kind in ("ResourceGroup", "VirtualNetwork", "Subnet", "NetworkSecurityGroup", "NatGateway", "StorageAccount"):
        assert len(of_type(planned, kind)) == 1, kind
    # The preview logs that no request went to Azure, and shows no private key.
    text = json.dumps(planned)
    assert "Azure receives no requests" in text
    assert "[secret]" in text
    assert key.splitlines()[2] not in text
    assert "PRIVATE KEY" not in text


def test_up_fails_and_names_the_official_plugin(machines: Stack) -> None:
    machines.environment["SETTINGS"] = json.dumps({"operator": "203.0.113.7"})
    output = machines.up(code=1)
    assert "supports previews only" in output
    assert "pulumi plugin install resource azure-native 3.29.0" in output
    created = {resource["type"] for resource in machines.state().values()}
    assert not {kind for kind in created if kind.startswith("azure-native")}


RAW = """
import pulumi

pulumi.CustomResource("azure-native:network:Subnet", "wrong", props={"locations": "westeurope"})
"""


def test_preview_unknown_input_fails_with_known_names(tmp_path: Path) -> None:
    output = stack(tmp_path, RAW).run("preview", code=1)
    assert "locations" in output
    assert "has no input of this name; it has: addressPrefix, " in output
    assert "virtualNetworkName" in output
    assert "is required" in output


@pytest.fixture(scope="module")
def plugin() -> Iterator[Plugin]:
    with Plugin(executable=PLUGIN) as running:
        yield running


def subnet(**rule: Value) -> Properties:
    """Return a subnet with one security rule."""
    allowed: Properties = {"access": "Allow", "direction": "Inbound", "protocol": "*"}
    rules: Properties = {"securityRules": [allowed | rule]}
    return {"resourceGroupName": UNKNOWN, "virtualNetworkName": Secret("v"), "networkSecurityGroup": rules}


RULE = "networkSecurityGroup.securityRules[0]"
CHECKED: dict[str, tuple[str, Properties, dict[str, str]]] = {
    "all as it should be": ("network:Subnet", subnet(priority=100.0, sourceAddressPrefixes=["10.0.0.0/8"]), {}),
    "not known yet": ("network:Subnet", subnet(priority=UNKNOWN, sourceAddressPrefixes=UNKNOWN), {}),
    "another type": (
        "network:Subnet",
        subnet() | {"addressPrefix": ["10.0.0.0/24"]},
        {"addressPrefix": "has to be a string, not a list"},
    ),
    "another type in a secret": (
        "network:Subnet",
        subnet() | {"addressPrefix": Secret(24.0)},
        {"addressPrefix": "has to be a string, not 24.0"},
    ),
    "an unknown name inside": (
        "network:Subnet",
        subnet(ports="22"),
        {f"{RULE}.ports": f"`{RULE}` has no input of this name"},
    ),
    "a required one inside": (
        "network:Subnet",
        {
            "resourceGroupName": "g",
            "virtualNetworkName": "v",
            "networkSecurityGroup": {"securityRules": [{"access": "Allow", "direction": "Inbound"}]},
        },
        {f"{RULE}.protocol": "is required"},
    ),
    "a number with a fraction": (
        "network:Subnet",
        subnet(priority=1.5),
        {f"{RULE}.priority": "has to be a whole number, not 1.5"},
    ),
    "text in a list of objects": (
        "network:NetworkSecurityGroup",
        {"resourceGroupName": "g", "securityRules": ["ssh"]},
        {"securityRules[0]": "has to be SecurityRuleArgs, not 'ssh'"},
    ),
    "a tag that is no text": (
        "resources:ResourceGroup",
        {"tags": {"costs": 4711.0}},
        {"tags.costs": "has to be a string, not 4711.0"},
    ),
    "one of few values": (
        "storage:BlobContainer",
        {"accountName": "a", "resourceGroupName": "g", "publicAccess": "Public"},
        {"publicAccess": "has to be one of Container, Blob, None, not 'Public'"},
    ),
}


@pytest.mark.parametrize("case", CHECKED)
def test_check_compares_inputs_with_the_sdk(case: str, plugin: Plugin) -> None:
    kind, inputs, expected = CHECKED[case]
    returned, failures = plugin.check(f"azure-native:{kind}", inputs)
    assert returned == inputs
    assert failures.keys() == expected.keys()
    assert all(failures[path].startswith(reason) for path, reason in expected.items()), failures


def test_check_unknown_type_is_refused(plugin: Plugin) -> None:
    with pytest.raises(Refused, match="has no azure-native:network:Subnett"):
        plugin.check("azure-native:network:Subnett", {})


def test_create_preview_echoes_simple_inputs(plugin: Plugin) -> None:
    kind = "azure-native:resources:ResourceGroup"
    outputs = plugin.create(kind, {"location": "westeurope", "tags": {"a": "b"}}, preview=True)
    assert (outputs["location"], outputs["tags"]) == ("westeurope", {"a": "b"})
    assert (outputs["name"], outputs["properties"], outputs["id"]) == (UNKNOWN, UNKNOWN, "")


def test_calls_that_need_azure_are_refused(plugin: Plugin) -> None:
    kind = "azure-native:resources:ResourceGroup"
    request = provider_pb2.InvokeRequest(tok="azure-native:authorization:getClientToken")
    for attempt in (
        lambda: plugin.create(kind, {}),
        lambda: plugin.update(kind, {}, {}),
        lambda: plugin.delete(kind, {}),
        lambda: plugin.call("Invoke", request),
    ):
        with pytest.raises(Refused, match="supports previews only"):
            attempt()


def test_diff_changed_input_is_an_update(plugin: Plugin) -> None:
    urn = "urn:pulumi:stack::project::azure-native:resources:ResourceGroup::group"
    for new, changes in (({"location": "westeurope"}, "DIFF_NONE"), ({"location": "northeurope"}, "DIFF_SOME")):
        request = provider_pb2.DiffRequest(urn=urn, old_inputs=encode({"location": "westeurope"}), news=encode(new))
        answer = plugin.call("Diff", request)
        assert provider_pb2.DiffResponse.DiffChanges.Name(answer.changes) == changes
        assert list(answer.diffs) == (["location"] if changes == "DIFF_SOME" else [])


def test_plugin_exits_with_the_engine(plugin: Plugin) -> None:
    with Plugin(executable=PLUGIN) as own:
        own.end_input()
        assert own.process.wait(30) == 0
