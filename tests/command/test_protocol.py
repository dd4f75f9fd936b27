"""Protocol methods that run no command: checks, diffs, schema and capabilities."""

from __future__ import annotations

import json

import pytest
from google.protobuf import empty_pb2, struct_pb2
from pulumi.runtime.proto import plugin_pb2, provider_pb2

from airgap.stand_ins.protocol.property_values import (
    ARCHIVE,
    ASSET,
    UNKNOWN,
    Asset,
    Properties,
    Secret,
    decode,
)

from .plugin import COPY_FILE, COPY_TO_REMOTE, LOCAL, REMOTE, Plugin, RecordingEngine, Refused, urn

DEFAULTS: Properties = {"host": "h", "port": 22.0, "user": "root", "dialErrorLimit": 10.0, "perDialTimeout": 15.0}
CONNECTION: Properties = {"host": "h"}
FILE = Asset(ASSET, {"path": "file", "hash": "1"})

CHECKED: dict[str, tuple[str, Properties, Properties]] = {
    "a local command": (
        LOCAL,
        {"create": "c", "triggers": [1.0, UNKNOWN]},
        {"create": "c", "triggers": [1.0, UNKNOWN]},
    ),
    "defaults of a connection, which is secret": (REMOTE, {"connection": CONNECTION}, {"connection": Secret(DEFAULTS)}),
    "explicit values over defaults": (
        REMOTE,
        {"connection": {**DEFAULTS, "port": 2222.0, "dialErrorLimit": -1.0, "perDialTimeout": 0.0}},
        {"connection": Secret({**DEFAULTS, "port": 2222.0, "dialErrorLimit": -1.0, "perDialTimeout": 0.0})},
    ),
    "defaults of a proxy": (
        REMOTE,
        {"connection": {**CONNECTION, "proxy": CONNECTION}},
        {"connection": Secret({**DEFAULTS, "proxy": DEFAULTS})},
    ),
    "credentials are secret within the connection too": (
        REMOTE,
        {"connection": {**DEFAULTS, "password": "p", "privateKey": Secret("k"), "privateKeyPassword": "w"}},
        {
            "connection": Secret(
                {**DEFAULTS, "password": Secret("p"), "privateKey": Secret("k"), "privateKeyPassword": Secret("w")}
            )
        },
    ),
    "an unknown connection": (REMOTE, {"connection": UNKNOWN}, {"connection": Secret(UNKNOWN)}),
    "an unknown host": (
        REMOTE,
        {"connection": {"host": UNKNOWN}},
        {"connection": Secret({**DEFAULTS, "host": UNKNOWN})},
    ),
    "a source": (
        COPY_TO_REMOTE,
        {"connection": UNKNOWN, "source": FILE, "remotePath": "/p"},
        {"connection": Secret(UNKNOWN), "source": FILE, "remotePath": "/p"},
    ),
}


@pytest.mark.parametrize("name", CHECKED)
def test_check_valid_inputs_adds_defaults_and_secrets(name: str, plugin: Plugin) -> None:
    token, inputs, checked = CHECKED[name]
    assert plugin.check(token, inputs) == (checked, {})


def source(signature: str, **fields: object) -> Properties:
    return {"connection": CONNECTION, "remotePath": "/p", "source": Asset(signature, fields)}  # type: ignore[arg-type]


FAILURES: dict[str, tuple[str, Properties, dict[str, str]]] = {
    "an unknown name": (LOCAL, {"creates": "c"}, {"creates": f"Unrecognized field 'creates' on '{LOCAL}'"}),
    "a wrong type": (
        LOCAL,
        {"create": 1.0},
        {"create": f"Field 'create' on '{LOCAL}' must be of type string, not number"},
    ),
    "a wrong type in a list": (
        LOCAL,
        {"interpreter": ["a", True]},
        {"interpreter": f"Field 'interpreter[1]' on '{LOCAL}' must be of type string, not boolean"},
    ),
    "a wrong type in a map": (
        LOCAL,
        {"environment": {"A": 1.0}},
        {"environment": f"Field 'environment[A]' on '{LOCAL}' must be of type string, not number"},
    ),
    "no connection": (REMOTE, {}, {"connection": f"Missing required field 'connection' on '{REMOTE}'"}),
    "no host": (
        REMOTE,
        {"connection": {"port": 22.0}},
        {"connection": f"Missing required field 'host' on '{REMOTE}.connection'"},
    ),
    "no host of a proxy": (
        REMOTE,
        {"connection": {"host": "h", "proxy": Secret({})}},
        {"connection": f"Missing required field 'host' on '{REMOTE}.connection.proxy'"},
    ),
    "several": (
        COPY_FILE,
        {"connection": CONNECTION},
        {
            "localPath": f"Missing required field 'localPath' on '{COPY_FILE}'",
            "remotePath": f"Missing required field 'remotePath' on '{COPY_FILE}'",
        },
    ),
    "a source from the internet": (
        COPY_TO_REMOTE,
        source(ASSET, uri="https://example.com"),
        {"asset": "asset must be a path-based file asset or a text asset"},
    ),
    "an archive of assets": (
        COPY_TO_REMOTE,
        source(ARCHIVE, assets={"a": FILE}),
        {"archive": "archive must be a path to a file or directory"},
    ),
}


@pytest.mark.parametrize("name", FAILURES)
def test_check_invalid_inputs_reports_each_fault(name: str, plugin: Plugin) -> None:
    token, inputs, failures = FAILURES[name]
    assert plugin.check(token, inputs)[1] == failures


OLD: Properties = {
    "create": "c",
    "environment": {"A": "a", "B.C": "b"},
    "triggers": ["t", 1.0],
    "interpreter": ["sh", "-c"],
}

DIFFERENCES: dict[str, tuple[str, Properties, dict[str, str]]] = {
    "nothing": (LOCAL, OLD, {}),
    "an update": (LOCAL, {**OLD, "create": "d"}, {"create": "UPDATE"}),
    "an addition": (LOCAL, {**OLD, "stdin": "s"}, {"stdin": "ADD"}),
    "a removal": (LOCAL, {key: OLD[key] for key in OLD if key != "interpreter"}, {"interpreter": "DELETE"}),
    "an unknown": (LOCAL, {**OLD, "create": UNKNOWN}, {"create": "UPDATE"}),
    "a new secrecy": (LOCAL, {**OLD, "create": Secret("c")}, {"create": "UPDATE"}),
    "entries of a map": (
        LOCAL,
        {**OLD, "environment": {"A": "b", "D": "d"}},
        {"environment.A": "UPDATE", 'environment["B.C"]': "DELETE", "environment.D": "ADD"},
    ),
    "entries of a list": (
        LOCAL,
        {**OLD, "interpreter": ["bash"]},
        {"interpreter[0]": "UPDATE", "interpreter[1]": "DELETE"},
    ),
    # The SDKs set the option that replaces the resource on these changes.
    "entries of the triggers": (
        LOCAL,
        {**OLD, "triggers": ["u", 1.0, 2.0]},
        {"triggers[0]": "UPDATE", "triggers[2]": "ADD"},
    ),
    "triggers that were removed": (
        LOCAL,
        {key: OLD[key] for key in OLD if key != "triggers"},
        {"triggers": "DELETE_REPLACE"},
    ),
    "what the engine adds": (LOCAL, {**OLD, "version": "1.2.1", "__internal": {}}, {}),
    "a file without update": (COPY_FILE, {**OLD, "create": "d"}, {"create": "UPDATE_REPLACE"}),
    "a path to copy to": (COPY_TO_REMOTE, {**OLD, "remotePath": "p"}, {"remotePath": "ADD"}),
}


@pytest.mark.parametrize("name", DIFFERENCES)
def test_diff_reports_each_change(name: str, plugin: Plugin) -> None:
    token, new, changes = DIFFERENCES[name]
    assert plugin.diff(token, OLD, new) == changes


def test_diff_of_assets_compares_content(plugin: Plugin) -> None:
    old: Properties = {"source": FILE}
    assert plugin.diff(COPY_TO_REMOTE, old, {"source": Asset(ASSET, {"path": "elsewhere", "hash": "1"})}) == {}
    assert plugin.diff(COPY_TO_REMOTE, old, {"source": Asset(ASSET, {"path": "file", "hash": "2"})}) == {
        "source": "UPDATE"
    }


def test_read_returns_its_inputs(plugin: Plugin) -> None:
    state = struct_pb2.Struct()
    state.update({"create": "c", "stdout": "out"})
    request = provider_pb2.ReadRequest(urn=urn(LOCAL), id="id", properties=state, inputs=state)
    response = plugin.call("Read", request)
    assert (response.id, response.properties, response.inputs) == ("id", state, state)


def test_handshake_reports_capabilities_and_version(plugin: Plugin) -> None:
    handshake = plugin.call("Handshake", provider_pb2.ProviderHandshakeRequest())
    configured = plugin.call("Configure", provider_pb2.ConfigureRequest())
    # A missing capability is an unset field.
    assert {field.name for field, _ in handshake.ListFields()} == {
        "accept_secrets",
        "accept_resources",
        "accept_outputs",
    }
    assert {field.name for field, _ in configured.ListFields()} == {
        "acceptSecrets",
        "supportsPreview",
        "acceptResources",
        "acceptOutputs",
    }
    assert plugin.call("GetPluginInfo", empty_pb2.Empty()).version == "1.2.1"


def test_check_config_adds_the_official_mark(plugin: Plugin) -> None:
    news = struct_pb2.Struct()
    news.update({"version": "1.2.1"})
    response = plugin.call("CheckConfig", provider_pb2.CheckRequest(news=news))
    assert dict(response.inputs) == {"version": "1.2.1", "__pulumi-go-provider-version": "1.2.0"}
    assert plugin.call("DiffConfig", provider_pb2.DiffRequest()).changes == provider_pb2.DiffResponse.DIFF_UNKNOWN


def test_schema_references_only_defined_types(plugin: Plugin) -> None:
    schema = json.loads(plugin.call("GetSchema", provider_pb2.GetSchemaRequest()).schema)
    assert set(schema["resources"]) == {LOCAL, REMOTE, COPY_TO_REMOTE, COPY_FILE}
    assert schema["resources"][REMOTE]["requiredInputs"] == ["connection"]
    assert schema["resources"][LOCAL]["inputProperties"]["triggers"]["replaceOnChanges"]
    assert schema["types"]["command:remote:Connection"]["properties"]["dialErrorLimit"]["default"] == 10
    references = [part.split('"')[0] for part in json.dumps(schema).split('"#/types/')[1:]]
    assert set(references) == set(schema["types"])


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        ("Construct", provider_pb2.ConstructRequest()),
        ("Call", provider_pb2.CallRequest()),
        ("Update", provider_pb2.UpdateRequest(urn=urn(COPY_FILE))),
    ],
)
def test_unsupported_method_is_unimplemented(method: str, request_: object, plugin: Plugin) -> None:
    with pytest.raises(Refused, match="UNIMPLEMENTED: "):
        plugin.call(method, request_)


def test_unknown_type_is_not_found(plugin: Plugin) -> None:
    with pytest.raises(Refused, match="NOT_FOUND: Resource 'command:local:Other' not found"):
        plugin.check("command:local:Other", {})
    with pytest.raises(Refused, match="NOT_FOUND: Invoke 'command:local:other' not found"):
        plugin.call("Invoke", provider_pb2.InvokeRequest(tok="command:local:other"))


def test_check_output_values_are_unwrapped(plugin: Plugin) -> None:
    signature = {"4dabf18193072939515e22adb298388d": "d0e6a833031e9bbcd3f4e8bde6ca49a4"}
    news = struct_pb2.Struct()
    news.update({"create": signature | {"value": "c", "secret": True}, "stdin": signature})
    response = plugin.call("Check", provider_pb2.CheckRequest(urn=urn(LOCAL), news=news))
    assert decode(response.inputs) == {"create": Secret("c"), "stdin": UNKNOWN}


def test_attach_redirects_the_log(own_plugin: Plugin) -> None:
    other = RecordingEngine()
    own_plugin.call("Attach", plugin_pb2.PluginAttach(address=other.address))
    own_plugin.create(LOCAL, {"create": "echo here"}, "attached")
    assert other.lines("attached") == ["here"]
    assert own_plugin.engine.lines("attached") == []
    other.stop()
