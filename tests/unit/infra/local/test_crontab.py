"""Regular commands in the crontab of a user, with a stand-in for the program `crontab`."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from infra.dynamic_provider import UserError
from infra.local import crontab
from infra.local.crontab import _ScheduleProvider

OTHERS = "# mine\n0 1 * * * echo 100\\%\n5 5 * * 1 /bin/sh /elsewhere/schedules/backup-a.sh\n0 0 * * * echo a\x0cb\n"
CRONTAB = """#!/bin/sh
if [ "$1" = -l ]; then
  cat "$TABLE" 2>/dev/null || { echo "no crontab for user" >&2; exit 1; }
else
  cat > "$TABLE"
fi
"""
PROPS: dict[str, Any] = {
    "target": "backup",
    "stack": "a",
    "schedule": "30 2 * * *",
    "setting": "platform:backup.schedule",
}


def program(folder: Path, name: str, text: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    program(tmp_path / "bin", "crontab", CRONTAB)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("TABLE", str(tmp_path / "table"))
    monkeypatch.setenv("MLPLATFORM_CACHE", str(tmp_path / "cache %"))
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE_FILE", "/secret files/passphrase")
    for name in crontab.SECRETS:
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "table"


def test_line_is_added_changed_and_removed_and_others_stay(table: Path, tmp_path: Path) -> None:
    table.write_text(OTHERS)
    provider = _ScheduleProvider()
    state = provider.create(PROPS).outs or {}
    assert table.read_text() == f"{OTHERS}{state['line']}\n"
    assert not provider.diff("", state, PROPS).changes
    news = PROPS | {"schedule": "0 3 * * *"}
    assert provider.diff("", state, news).changes
    state = provider.update("", state, news).outs or {}
    assert table.read_text().startswith(f"{OTHERS}0 3 * * * /bin/sh ")
    assert len(table.read_text().split("\n")) == 6
    assert provider.read("backup", state).id == "backup"
    provider.delete("", state)
    assert table.read_text() == OTHERS
    assert list((tmp_path / "cache %" / "schedules").iterdir()) == []
    assert not provider.read("backup", state).id


def test_first_line_of_a_user_without_a_crontab(table: Path) -> None:
    state = _ScheduleProvider().create(PROPS).outs or {}
    assert table.read_text() == f"{state['line']}\n"


def test_command_runs_make_in_the_checkout_and_writes_its_log(table: Path, tmp_path: Path) -> None:
    program(tmp_path / "bin", "make", '#!/bin/sh\necho "$PWD" "$@" "$PULUMI_CONFIG_PASSPHRASE_FILE"\n')
    line = (_ScheduleProvider().create(PROPS).outs or {})["line"]
    command = line.removeprefix(f"{PROPS['schedule']} ").replace(r"\%", "%")
    log = tmp_path / "cache %" / "logs" / "backup-a.log"
    subprocess.run(["/bin/sh", "-c", command], check=True, env={"PATH": "/usr/bin:/bin"}, cwd="/")
    assert log.read_text() == f"{crontab.PROJECT} backup STACK=a /secret files/passphrase\n"


def test_variables_of_the_user_reach_the_command(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`make backup` without the folder of the cache would copy another, empty one."""
    monkeypatch.delenv("MLPLATFORM_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(table.parent / "xdg"))
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    _ScheduleProvider().create(PROPS)
    script = table.parent / "xdg" / "mlplatform" / "schedules" / "backup-a.sh"
    assert f"export MLPLATFORM_CACHE={table.parent}/xdg/mlplatform\n" in script.read_text()
    assert "export HTTPS_PROXY=http://proxy:3128\n" in script.read_text()
    assert script.stat().st_mode & 0o077 == 0


def test_moved_checkout_is_written_again_and_another_path_is_not(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    provider = _ScheduleProvider()
    state = provider.create(PROPS).outs or {}
    monkeypatch.setenv("PATH", f"{os.environ['PATH']}:/opt/bin")
    assert not provider.diff("", state, PROPS).changes
    monkeypatch.setattr(crontab, "PROJECT", Path("/builds/checkout"))
    assert provider.diff("", state, PROPS).changes


def test_another_computer_or_user_changes_nothing(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    provider = _ScheduleProvider()
    state = provider.create(PROPS).outs or {}
    before = table.read_text()
    monkeypatch.setattr(crontab, "PROJECT", Path("/builds/checkout"))
    monkeypatch.setattr(crontab.getpass, "getuser", lambda: "runner")
    assert not provider.diff("", state, PROPS).changes
    table.write_text("")
    assert provider.read("backup", state).id == "backup"
    table.write_text(before)
    with pytest.raises(UserError, match=rf"the line is in the crontab of {state['computer']}. Run `make up` there"):
        provider.update("", state, PROPS | {"schedule": "0 3 * * *"})
    provider.delete("", state)
    assert table.read_text() == before


def test_lost_script_is_written_again(table: Path, tmp_path: Path) -> None:
    provider = _ScheduleProvider()
    state = provider.create(PROPS).outs or {}
    (tmp_path / "cache %" / "schedules" / "backup-a.sh").unlink()
    assert not provider.read("backup", state).id


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the warnings that the user sees."""
    warnings: list[str] = []
    monkeypatch.setattr(crontab.pulumi.log, "warn", warnings.append)
    return warnings


def test_computer_without_the_program_keeps_the_line_and_warns(
    table: Path, monkeypatch: pytest.MonkeyPatch, warnings: list[str]
) -> None:
    """A shell without the folder of `crontab` in its PATH says nothing about the line."""
    provider = _ScheduleProvider()
    state = provider.create(PROPS).outs or {}
    monkeypatch.setenv("PATH", "/nowhere")
    warnings.clear()
    assert provider.read("backup", state).outs == state
    with pytest.raises(UserError, match="this computer has no crontab; install cron"):
        provider.update("", state, PROPS | {"schedule": "0 3 * * *"})
    provider.delete("", state)
    assert table.read_text() == f"{state['line']}\n"
    reason = f"the crontab of {state['computer']} cannot be read: no program crontab is on PATH"
    assert warnings == [
        f"platform:backup.schedule: the line was not checked: {reason}",
        f"{reason}. If it has a line for the stack a, remove it",
    ]


def test_secret_variable_is_refused_with_its_replacement(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "")
    with pytest.raises(UserError, match=r"^platform:backup.schedule: .*use PULUMI_CONFIG_PASSPHRASE_FILE"):
        _ScheduleProvider().create(PROPS)
    monkeypatch.delenv("PULUMI_CONFIG_PASSPHRASE")
    monkeypatch.setenv("AZURE_STORAGE_KEY", "word")
    monkeypatch.setenv("PULUMI_BACKEND_URL", "azblob://states")
    with pytest.raises(UserError, match=r"^platform:backup.schedule: .*use `az login`"):
        _ScheduleProvider().create(PROPS)
    assert not table.exists()
    monkeypatch.setenv("PULUMI_BACKEND_URL", "file:///states")
    _ScheduleProvider().create(PROPS)


def test_computer_without_crontab_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("MLPLATFORM_CACHE", str(tmp_path / "cache"))
    with pytest.raises(UserError, match=r"^platform:backup.schedule: this computer has no crontab; install cron"):
        _ScheduleProvider().create(PROPS)


def test_refused_table_fails_with_the_reason(table: Path, tmp_path: Path, warnings: list[str]) -> None:
    program(tmp_path / "bin", "crontab", '#!/bin/sh\necho "you are not allowed to use this program" >&2\nexit 1\n')
    with pytest.raises(UserError, match="you are not allowed"):
        _ScheduleProvider().create(PROPS)
    # It must not keep the stack from being destroyed.
    state = PROPS | {"line": "", "script": "", "computer": crontab._computer()}
    assert _ScheduleProvider().read("backup", state).outs == state
    _ScheduleProvider().delete("", state)
    assert all("you are not allowed" in warning for warning in warnings)
    assert len(warnings) == 2
