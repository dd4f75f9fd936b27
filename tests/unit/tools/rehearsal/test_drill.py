"""Results of `make drill`; tests/stack and tests/lab/stores run whole restores."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Any
from unittest.mock import Mock

import pytest

from settings.stack import StackSettings
from tools.cli.backup.errors import BackupError
from tools.cli.cluster_access import AccessError
from tools.cli.pulumi_command import Pulumi
from tools.cli.rehearsal import drill as module
from tools.cli.rehearsal.drill import drill

SAVED: dict[str, Any] = {"runs": {"1": "a"}, "versions": {"iris/1": "b"}, "predictions": {"iris": "c"}, "blobs": {}}
EMPTY: dict[str, Any] = {"runs": {}, "versions": {}, "predictions": {}, "blobs": {}}


@pytest.fixture
def records(monkeypatch: pytest.MonkeyPatch) -> Mock:
    """Replace the restore, and return the function that records a success."""
    monkeypatch.setattr(module, "stack_settings", lambda _: StackSettings())
    monkeypatch.setattr(module, "required_repository", Mock())
    monkeypatch.setattr(module, "_new_stack", lambda *_: nullcontext(Mock()))
    monkeypatch.setattr(module, "secret_outputs", lambda _: {})
    monkeypatch.setattr(module, "container_logins", lambda _: {})
    monkeypatch.setattr(module, "export_state", lambda _: {})
    record = Mock()
    monkeypatch.setattr(module, "record_success", record)
    return record


def restoring(monkeypatch: pytest.MonkeyPatch, saved: dict[str, Any], restored: dict[str, Any], code: int = 0) -> None:
    manifest = {"time": datetime.now(UTC).isoformat(), **saved}
    monkeypatch.setattr(module, "restore_data", lambda *_, **__: (code, manifest))
    monkeypatch.setattr(module, "take_fingerprint", lambda *_: restored)


def test_drill_of_an_equal_stack_is_recorded(
    records: Mock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    restoring(monkeypatch, SAVED, SAVED)
    assert drill(Pulumi("a"), [], Mock(), Mock()) == 0
    assert "all are equal: 1 runs, 1 versions, 1 predictions, 0 blobs" in capsys.readouterr().err
    records.assert_called_once_with("a", "drill")


def test_drill_restores_the_backup_of_a_time(records: Mock, monkeypatch: pytest.MonkeyPatch) -> None:
    restoring(monkeypatch, SAVED, SAVED)
    restored = Mock(wraps=module.restore_data)
    monkeypatch.setattr(module, "restore_data", restored)
    assert drill(Pulumi("a"), ["--at", "2026-11-28T20:15"], Mock(), Mock()) == 0
    assert restored.call_args.kwargs["at"] == datetime(2026, 11, 28, 20, 15, tzinfo=UTC)


def test_drill_of_a_stack_that_lacks_a_run_fails_and_names_it(
    records: Mock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    restoring(monkeypatch, SAVED, SAVED | {"runs": {}})
    assert drill(Pulumi("a"), [], Mock(), Mock()) == 1
    assert "runs: 1 is missing" in capsys.readouterr().err
    records.assert_not_called()


def test_drill_of_an_empty_backup_or_a_stack_that_stays_down_fails(
    records: Mock, monkeypatch: pytest.MonkeyPatch
) -> None:
    restoring(monkeypatch, EMPTY, EMPTY)
    with pytest.raises(BackupError, match=r"0 runs, 0 versions.*nothing to compare"):
        drill(Pulumi("a"), [], Mock(), Mock())
    restoring(monkeypatch, SAVED, SAVED, code=1)
    with pytest.raises(BackupError, match="did not come up"):
        drill(Pulumi("a"), [], Mock(), Mock())
    records.assert_not_called()


def test_drill_succeeds_if_the_cluster_of_the_stack_is_dead(
    records: Mock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    restoring(monkeypatch, SAVED, SAVED)
    monkeypatch.setattr(module, "secret_outputs", lambda _: {"monitoring_url": "http://m", "kubeconfig": "k"})
    monkeypatch.setattr(module, "renew_lease", Mock(side_effect=AccessError("no route to host")))
    assert drill(Pulumi("a"), [], Mock(), Mock()) == 0
    records.assert_called_once_with("a", "drill")
    assert "The alerts of stack a do not know of the drill: no route to host" in capsys.readouterr().err
