"""`make user`: a person with a password in the settings of a stack."""

from __future__ import annotations

import json
from unittest.mock import Mock

import pytest

from tools.cli import door_commands
from tools.cli.cluster_access import AccessError

ANNA = {"role": "administrator", "password_hash": "$2b$12$" + "a" * 53}
HOST = {"host": "ml.example.com"}


def a_stack(monkeypatch: pytest.MonkeyPatch, door: object) -> Mock:
    """Return the stack `lab`, whose committed settings have no door, with the door of `pulumi config set`."""
    monkeypatch.setattr(door_commands, "secret_outputs", lambda _: {})
    monkeypatch.setattr(door_commands, "record_action", Mock())
    config = {"platform:door": {"value": json.dumps(door)}} if door else {}
    pulumi = Mock(stack="lab", output=Mock(side_effect=lambda *words, **_: json.dumps(config)))
    pulumi.name = "lab"
    return pulumi


def written(pulumi: Mock) -> dict[str, str]:
    calls = [call.args for call in pulumi.output.call_args_list]
    return {words[-2]: words[-1] for words in calls if words[:2] == ("config", "set")}


@pytest.mark.parametrize(
    ("door", "person", "message"),
    [
        (None, ("anna", "administrator"), "platform:door.host: Field required"),
        (HOST, ("rob", "reader"), "users: there is no administrator; set role: administrator"),
        (
            HOST | {"users": {"anna": ANNA}},
            ("token.x", "reader"),
            "users.token.x: the platform's programs use this name",
        ),
        (HOST | {"users": {"anna": ANNA}}, ("Rob", "reader"), "platform:door.users.Rob"),
        (HOST | {"oidc": {}}, ("anna", "administrator"), "platform:door.oidc.issuer: Field required"),
    ],
    ids=["no host", "no administrator", "name of a program", "capital letter", "provider"],
)
def test_user_that_up_would_refuse_writes_nothing(
    monkeypatch: pytest.MonkeyPatch, door: object, person: tuple[str, str], message: str
) -> None:
    pulumi = a_stack(monkeypatch, door)
    with pytest.raises(AccessError, match=r"^nothing was written, because `make up` would refuse") as refused:
        door_commands.user(pulumi, ["--name", person[0], "--role", person[1]])
    assert message in str(refused.value)
    assert "$2b$" not in str(refused.value)
    assert written(pulumi) == {}


def test_user_of_a_stack_with_a_door_is_written_and_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pulumi = a_stack(monkeypatch, HOST | {"users": {"anna": ANNA}})
    assert door_commands.user(pulumi, ["--name", "rob", "--role", "reader"]) == 0
    settings = written(pulumi)
    assert settings['platform:door.users["rob"].role'] == "reader"
    assert settings['platform:door.users["rob"].password_hash'].startswith("$2b$")
    shown = capsys.readouterr()
    assert "rob" in shown.err
    assert len(shown.out.strip()) == 16
