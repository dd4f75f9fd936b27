"""`make audit`, and the entries of commands, with the real program of the audit log as a process."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import requests
from mlplatform.audit_log import audit_store
from mlplatform.audit_log.audit_store import MOST_IN_A_MINUTE, AuditEntry, AuditSearch, AuditStore
from mlplatform.audit_log.door_lines import door_line

from infra.local.computer_user import computer_user
from infra.local.free_ports import free_port
from tests.waiting import until
from tools.cli.audit import audit_command, audit_entries
from tools.cli.audit.audit_command import audit, entry_lines
from tools.cli.audit.audit_entries import _DoorLog, record_action, record_champions
from tools.cli.cluster_access import AccessError

NOW = 1_800_000_000
DOOR = {"door_url": "https://ml.example.com/"}
LINE = (
    '{"id":"1a","time":"2027-01-15T08:00:07+00:00","address":"10.0.0.9","user":"%s","team":"shop",'
    '"method":"%s","path":"%s","status":%d}'
)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(audit_entries, "cache_directory", lambda: tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_DoorLog]:
    port, folder = free_port(), tmp_path_factory.mktemp("audit")
    command = [sys.executable, "-m", "mlplatform.audit_log.server", "127.0.0.1", str(port)]
    variables = {"AUDIT_FOLDER": str(folder), "AUDIT_DAYS": "30", "DOOR_KEY": "key"}
    process = subprocess.Popen(command, env=variables)
    url = f"http://127.0.0.1:{port}"
    until(lambda: _responds(url), what="the audit log")
    yield _DoorLog(url, "key")
    process.terminate()
    assert process.wait(10) == 0


def _responds(url: str) -> bool:
    try:
        return requests.get(f"{url}/health", timeout=5).ok
    except requests.RequestException:
        return False


def reachable(monkeypatch: pytest.MonkeyPatch, log: _DoorLog | None) -> None:
    """Let commands reach this audit log; None for one that is away."""

    @contextmanager
    def door_log(_: Any) -> Iterator[_DoorLog]:
        if log is None:
            raise AccessError("the audit log of the door does not respond: no pod is ready")
        yield log

    monkeypatch.setattr(audit_entries, "_door_log", door_log)


def test_entry_of_a_command_waits_on_this_computer_while_the_log_is_away(
    cache: Path, log: _DoorLog, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reachable(monkeypatch, None)
    record_action("lab", DOOR, "made a token", "token.1a2b", "for iris")
    assert "`make audit` writes the entry later" in capsys.readouterr().err
    assert log.search(AuditSearch(contains="1a2b")) == []
    reachable(monkeypatch, log)
    record_action("lab", DOOR, "revoked a token", "token.1a2b")
    found = log.search(AuditSearch(contains="1a2b"))
    assert {each["action"] for each in found} == {"made a token", "revoked a token"}
    assert {each["user"] for each in found} == {computer_user()}
    record_action("lab", DOOR, "restored", "lab", "data of lab")
    assert len(log.search(AuditSearch(contains="1a2b"))) == 2


def test_entries_beyond_a_thousand_and_those_added_meanwhile_are_not_lost(
    cache: Path, log: _DoorLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = int(time.time())
    local = audit_entries._local_store("lab")
    local.add_once([AuditEntry(now - number, "ann@pc", "made a token", f"many.{number}") for number in range(1100)])
    add_once, meanwhile = log.add_once, [AuditEntry(now, "ann@pc", "made a token", "many.meanwhile")]

    def adding(entries: Sequence[AuditEntry]) -> None:
        local.add(meanwhile)
        local.add([entries[-1]])  # counted again
        meanwhile.clear()
        add_once(entries)

    monkeypatch.setattr(log, "add_once", adding)
    log.take_over("lab")
    assert len(log.search(AuditSearch(contains="many.", limit=2000))) == 1100
    assert {each["target"] for each in local.search(AuditSearch())} == {"many.meanwhile", "many.0"}
    monkeypatch.setattr(log, "add_once", add_once)
    log.take_over("lab")
    assert len(log.search(AuditSearch(contains="many.", limit=2000))) == 1101
    assert local.search(AuditSearch()) == []


def test_audit_of_a_stack_without_a_door_prints_the_entries_of_this_computer(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = AuditEntry(NOW, "ann@pc", "set the champion", "iris/4", detail="accuracy 0.9 > baseline 0.7")
    monkeypatch.setattr(audit_entries, "_champion_entries", lambda _: iter([entry]))
    monkeypatch.setattr(audit_command, "secret_outputs", lambda _: {"tracking_access": {}})
    for module in (audit_entries, audit_store):
        monkeypatch.setattr(module, "time", Mock(time=lambda: NOW - 60))
    record_action("dev", {}, "deleted by platform:keep", "dev", "3 runs of `iris`")
    stack = Mock(stack="dev")
    stack.name = "dev"
    for _ in range(2):  # a change of a champion is added once
        assert audit(stack, []) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == lines[2:]
    assert lines[0].endswith("  deleted by platform:keep  dev  3 runs of `iris`")
    assert lines[1] == "2027-01-15 08:00:00  ann@pc  set the champion  iris/4  accuracy 0.9 > baseline 0.7"
    assert audit(stack, ["--user", "ann@pc", "--since", "2027-01-15T08:00", "--contains", "IRIS/4"]) == 0
    assert capsys.readouterr().out.splitlines() == [lines[1]]
    assert audit(stack, ["--user", "no-one"]) == 0
    assert capsys.readouterr().out == "no entries\n"
    with pytest.raises(SystemExit, match="2"):
        audit(stack, ["--since", "yesterday"])


def test_entries_of_a_person_are_found_in_upper_and_lower_case(cache: Path, log: _DoorLog) -> None:
    entries = [AuditEntry(NOW, user, "denied", "/capitals") for user in ("amy@example.com", "Amy@example.com", "bo")]
    log.add_once(entries)
    found = log.search(AuditSearch("AMY@example.com", contains="/capitals"))
    assert {each["user"] for each in found} == {"amy@example.com", "Amy@example.com"}


def test_champions_are_added_to_the_log_once(cache: Path, log: _DoorLog, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = AuditEntry(NOW, "pipeline wine, run 1", "set the champion", "wine/1")
    monkeypatch.setattr(audit_entries, "_champion_entries", lambda _: iter([entry]))
    reachable(monkeypatch, log)
    record_champions("lab", DOOR)
    record_champions("lab", DOOR)
    (found,) = log.search(AuditSearch(contains="wine/1"))
    assert found["count"] == 1


@pytest.mark.parametrize(
    ("user", "method", "path", "status", "expected"),
    [
        ("anna", "POST", "/oauth2/sign_in", 302, ("signed in", "/oauth2/sign_in")),
        ("anna", "GET", "/oauth2/callback", 302, ("signed in", "/oauth2/callback")),
        ("", "POST", "/oauth2/sign_in", 401, ("sign-on failed", "/oauth2/sign_in")),
        ("", "GET", "/oauth2/callback", 403, ("sign-on failed", "/oauth2/callback")),
        ("", "GET", "/oauth2/sign_in", 200, None),
        ("", "GET", "/oauth2/start", 302, None),
        ("anna", "POST", "/door/sign-out", 302, ("signed out", "/door/sign-out")),
        ("", "POST", "/door/sign-out", 403, ("denied", "/door/sign-out")),
        ("", "GET", "/door/sign-out", 405, None),
        ("anna", "POST", "//door/./sign%2dout", 302, ("signed out", "//door/./sign%2dout")),
        ("anna", "POST", "/x/..%2Foauth2/sign_in", 302, ("signed in", "/x/..%2Foauth2/sign_in")),
        ("token.1a2b", "POST", "//models/%69ris/score", 200, ("used a token", "/models/iris/")),
        ("rob", "GET", "/models/secret/", 403, ("denied", "/models/secret/")),
        ("", "GET", "/mlflow/", 401, ("denied", "/mlflow/")),
        ("token.1a2b", "POST", "/models/iris/score", 200, ("used a token", "/models/iris/")),
        ("token.1a2b", "GET", "/mlflow/api/2.0/x", 200, ("used a token", "/mlflow/")),
        ("token.1a2b", "POST", "/models/iris/score", 429, ("limited", "/models/iris/score")),
        ("token.1a2b", "POST", "/models/iris/score", 503, ("failed", "/models/iris/score")),
        ("", "POST", "/models/rose/score", 200, None),
    ],
)
def test_line_of_the_door_becomes_an_entry(
    user: str, method: str, path: str, status: int, expected: tuple[str, str] | None
) -> None:
    line = door_line(LINE % (user, method, path, status))
    assert line
    entry = line.entry
    assert (entry and (entry.action, entry.target)) == expected
    if entry:
        assert (entry.user, entry.team, entry.address) == (user, "shop", "10.0.0.9")
        assert entry.time == NOW + (7 if expected and expected[0].startswith("sign") else 0)


@pytest.mark.parametrize(
    "text", ["", "no JSON", "{", "[]", "7", '{"user": "x"}', LINE.replace("2027", "") % ("", "", "", 403)]
)
def test_other_texts_are_no_lines(text: str) -> None:
    assert door_line(text) is None


def test_line_that_arrives_again_is_counted_once(log: _DoorLog) -> None:
    lines = "".join(f"{LINE}\n".replace("1a", f"1a{number}") % ("rob", "GET", "/again", 403) for number in range(3))
    for body in (lines, lines, lines + "no line\n"):
        assert log._session.post(log._url.replace("entries", "lines"), data=body, timeout=30).ok
    assert [each["count"] for each in log.search(AuditSearch(contains="/again"))] == [3]
    assert requests.post(log._url.replace("entries", "lines"), data=lines, timeout=30).status_code == 403


@pytest.mark.parametrize("body", ["[", "{}", '{"entries": [{"time": 1}]}', '{"entries": [{"when": 1}]}', "[]"])
def test_log_refuses_what_is_no_entry(log: _DoorLog, body: str) -> None:
    answer = log._session.post(log._url, data=body, timeout=30)
    assert answer.status_code == 400
    assert "the body has to be a JSON object with entries" in answer.json()["error"]


@pytest.mark.parametrize("query", ["since=yesterday", "limit=all"])
def test_log_refuses_a_search_without_numbers(log: _DoorLog, query: str) -> None:
    answer = log._session.get(f"{log._url}?{query}", timeout=30)
    assert (answer.status_code, "have to be numbers" in answer.json()["error"]) == (400, True)


def test_store_counts_equal_entries_and_limits_a_flood(tmp_path: Path) -> None:
    store = AuditStore(tmp_path / "audit.sqlite")
    store.add([AuditEntry(NOW, "rob", "denied", "/x")] * 3)
    ((count,)) = [each["count"] for each in store.search(AuditSearch())]
    assert count == 3
    store.add([AuditEntry(NOW, "", "denied", f"/{number}" + "x" * 1000) for number in range(MOST_IN_A_MINUTE + 100)])
    found = store.search(AuditSearch(limit=1000))
    assert len(found) == MOST_IN_A_MINUTE + 2
    assert max(len(each["target"]) for each in found) == 300
    (left_out,) = [each["count"] for each in found if each["action"] == "more entries were left out"]
    assert left_out > 90


def test_store_forgets_old_entries(tmp_path: Path) -> None:
    store = AuditStore(tmp_path / "audit.sqlite")
    store.add([AuditEntry(NOW - days * 86_400, "rob", "denied", f"/{days}") for days in (0, 29, 31)])
    store.forget(30, NOW)
    assert [each["target"] for each in store.search(AuditSearch())] == ["/0", "/29"]


def test_lines_of_entries_are_in_the_order_of_time() -> None:
    newest = {"time": NOW + 60, "user": "", "action": "denied", "target": "/x", "team": "", "address": "", "detail": ""}
    lines = list(entry_lines([newest | {"count": 5}, newest | {"time": NOW, "user": "rob", "count": 1}]))
    assert lines == ["2027-01-15 08:00:00  rob  denied  /x", "2027-01-15 08:01:00  denied  /x  5 times"]
