"""Settings from environment variables."""

from __future__ import annotations

import pytest

from model_server.settings import ServerSettings, ServerSettingsError, to_environment
from settings.serving import ModelServerSettings, ServingSettings

SHARED = {"REGISTRY": "http://127.0.0.1:1", "CACHE": "cache"}
FROM_REGISTRY = SHARED | {"MODEL": "iris"}


def settings(**variables: object) -> ServerSettings:
    return ServerSettings.from_environment({f"MODEL_SERVER_{name}": str(value) for name, value in variables.items()})


def test_settings_no_variables_are_loopback_port_5005_and_no_model() -> None:
    read = settings()
    assert (str(read.host), read.port, read.workers) == ("127.0.0.1", 5005, 2)
    assert (read.directory, read.version, read.alias) == (None, None, None)


def test_settings_empty_and_foreign_variables_are_ignored() -> None:
    assert settings(PORT="", SHA256="") == ServerSettings.from_environment({"PORT": "abc", "MODEL": "x"}) == settings()


def test_settings_pinned_and_followed_model_are_read() -> None:
    pinned = settings(VERSION=3, SHA256="a" * 64, **FROM_REGISTRY)
    followed = settings(ALIAS="champion", POLL_SECONDS="0.5", **FROM_REGISTRY)
    assert (pinned.version, pinned.sha256) == ("3", "a" * 64)
    assert (followed.alias, followed.poll_seconds) == ("champion", 0.5)


def test_settings_several_models_are_those_of_each_one_alone() -> None:
    several = settings(MODELS="wine,iris", ALIAS="champion", **SHARED)
    assert several.of_each_model() == [settings(MODEL=name, ALIAS="champion", **SHARED) for name in ("wine", "iris")]


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"PORT": 0, "WORKERS": -1}, ["MODEL_SERVER_PORT='0'", "MODEL_SERVER_WORKERS='-1'", "1 to 64"]),
        ({"PORT": 5005, "GRPC_PORT": 5005}, ["MODEL_SERVER_GRPC_PORT and MODEL_SERVER_PORT are both 5005"]),
        ({"HEALTH_PORT": 5006, "GRPC_PORT": 5006}, ["MODEL_SERVER_GRPC_PORT and MODEL_SERVER_HEALTH_PORT are both"]),
        ({"GRPC_PORT": 70000}, ["MODEL_SERVER_GRPC_PORT='70000'", "1 to 65535"]),
        ({"PROT": 5005}, ["MODEL_SERVER_PROT is not a setting", "MODEL_SERVER_PORT"]),
        ({"HOST": "example"}, ["MODEL_SERVER_HOST='example'", "IP address"]),
        ({"SHA256": "AB", "VERSION": 1} | FROM_REGISTRY, ["MODEL_SERVER_SHA256='AB'", "64 lower-case"]),
        ({"REGISTRY": "mlflow://u:secret@h", "MODEL": "iris"}, ["MODEL_SERVER_REGISTRY='mlflow://***@h'", "http"]),
        ({"DIRECTORY": "/does/not/exist"}, ["MODEL_SERVER_DIRECTORY='/does/not/exist'"]),
        ({"DIRECTORY": ".", "ALIAS": "champion"}, ["MODEL_SERVER_ALIAS", "MODEL_SERVER_DIRECTORY"]),
        ({"VERSION": 1, "ALIAS": "champion"} | FROM_REGISTRY, ["MODEL_SERVER_VERSION", "MODEL_SERVER_ALIAS"]),
        ({"ALIAS": "champion"}, ["MODEL_SERVER_REGISTRY is needed"]),
        ({"VERSION": "../1"} | FROM_REGISTRY, ["MODEL_SERVER_VERSION='../1'"]),
        ({"ALIAS": "champion", "SHA256": "0" * 64} | FROM_REGISTRY, ["MODEL_SERVER_SHA256"]),
        ({"MODELS": "iris,wine"} | SHARED, ["MODEL_SERVER_ALIAS is needed with MODEL_SERVER_MODELS"]),
        ({"MODELS": "iris,iris", "ALIAS": "champion"} | SHARED, ["MODEL_SERVER_MODELS has a name twice: iris,iris"]),
        ({"MODELS": "iris,../b", "ALIAS": "champion"} | SHARED, ["MODEL_SERVER_MODELS='../b'", "separated by commas"]),
        ({"MODELS": "iris", "ALIAS": "champion"} | FROM_REGISTRY, ["MODEL_SERVER_MODEL does not go with"]),
    ],
)
def test_settings_invalid_value_names_variable_value_and_allowed_values(
    variables: dict[str, object], expected: list[str]
) -> None:
    with pytest.raises(ServerSettingsError) as raised:
        settings(**variables)
    message = str(raised.value)
    assert [words for words in expected if words not in message] == []
    assert "secret" not in message


def test_to_environment_any_settings_are_read_back() -> None:
    values = {"registry": "http://127.0.0.1:1", "model": "iris", "cache": "cache", "version": "3", "workers": 4}
    read = ServerSettings.from_environment(to_environment(values | {"sha256": None}))
    assert read.model_dump(include=set(values), mode="json") == values
    assert to_environment({"max_rows": 5, "alias": None}) == {"MODEL_SERVER_MAX_ROWS": "5"}


def test_environment_of_a_stacks_settings_is_read_by_the_server() -> None:
    values = {"workers": 3, "max_body_bytes": 2048, "max_rows": 7, "max_bodies": 9, "body_seconds": 4.5}
    read = ServerSettings.from_environment(ServingSettings(**values).environment())
    assert read.model_dump(include=set(values)) == values
    assert values.keys() == ModelServerSettings.model_fields.keys()


def test_settings_shared_with_a_stack_have_same_default_and_fit_the_limits() -> None:
    """A launcher renders each field of a stack's serving settings as the variable of the same name."""
    stack, server = (schema.model_json_schema()["properties"] for schema in (ServingSettings, ServerSettings))
    shared = stack.keys() & server.keys()
    assert {"port", *ModelServerSettings.model_fields} <= shared
    for name in shared:
        assert stack[name]["default"] == server[name]["default"], name
        ours, theirs = (schema[name].get("anyOf", [schema[name]])[0] for schema in (stack, server))
        assert ours["type"] == theirs["type"], name
        assert ours["minimum"] >= theirs["minimum"], name
        assert ours["maximum"] <= theirs["maximum"], name
