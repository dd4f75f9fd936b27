"""Tokens of teams: `make token` refuses what the door would refuse, and `make tokens` marks what it refuses now."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tools.cli import door_commands
from tools.cli.cluster_access import AccessError
from tools.cli.pulumi_command import Pulumi

STACK = cast(Pulumi, SimpleNamespace(name="lab-of-tests", stack="lab-of-tests"))
RULES: dict[str, Any] = {
    "models": {"iris": "team", "wine": "team", "rose": "public", "plain": "team"},
    "owners": {"iris": "shop", "wine": "science", "rose": "science"},
    "teams": {"names": {"shop": True, "science": True}},
}


class TokenStore:
    """The tokens of a door, by the team of each, which is also its id."""

    tokens: dict[str, dict[str, Any]]

    def __init__(self, _kubeconfig: str) -> None:
        """Take the kubeconfig of a cluster, which is not used."""

    def rules(self) -> dict[str, Any]:
        return RULES

    def read(self) -> dict[str, dict[str, Any]]:
        return self.tokens


@pytest.fixture(autouse=True)
def store(monkeypatch: pytest.MonkeyPatch) -> type[TokenStore]:
    monkeypatch.setattr(door_commands, "_TokenStore", TokenStore)
    monkeypatch.setattr(door_commands, "_door_outputs", lambda _: {"kubeconfig": ""})
    return TokenStore


@pytest.mark.parametrize(
    ("team", "target", "refusal"),
    [
        ("gone", "plain", "TEAM=gone: there is no such team; there are: shop, science"),
        ("shop", "iris,wine", "TEAM=shop: the model wine belongs to the team science"),
    ],
)
def test_token_for_what_the_team_may_not_use_is_refused(team: str, target: str, refusal: str) -> None:
    with pytest.raises(AccessError) as raised:
        door_commands.token(STACK, ["--for", target, "--team", team])
    assert str(raised.value) == refusal


def test_list_marks_tokens_that_the_door_refuses(
    store: type[TokenStore], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    granted = {
        "shop": ("model:iris", "model:rose", "model:plain"),
        "science": ("model:iris", "mlflow"),
        "gone": ("model:plain", "model:removed"),
    }
    store.tokens = {
        team: {
            "id": team,
            "team": team,
            "for": dict.fromkeys(targets, True),
            "role": "reader",
            "expires": time.time() + 60 * (number + 1),
        }
        for number, (team, targets) in enumerate(granted.items())
    }

    def marks() -> dict[str, str]:
        assert door_commands.tokens(STACK, []) == 0
        lines = capsys.readouterr().out.splitlines()
        return {line.split()[0]: line.partition("  refused: ")[2] for line in lines}

    assert marks() == {
        "shop": "",
        "science": "the model iris belongs to the team shop",
        "gone": "there is no such team; there are: shop, science",
    }
    monkeypatch.setitem(RULES, "teams", None)
    assert marks() == dict.fromkeys(granted, "")
