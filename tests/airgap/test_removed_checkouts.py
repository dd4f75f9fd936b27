"""The deletion of environments of checkouts that no longer exist."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from airgap.bundle.pruning.removed_checkouts import prune_environments


def environment(cache: Path, name: str, checkout: Path) -> Path:
    folder = cache / "venvs" / name
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").symlink_to(sys.executable)
    (folder / "installed-from.txt").write_text(f"{checkout}\ndigest\ndigest")
    return folder


def test_prune_removes_environments_of_removed_checkouts_that_no_process_uses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLPLATFORM_CACHE", str(tmp_path / "cache"))
    (tmp_path / "checkout").mkdir()
    kept = environment(tmp_path / "cache", "1", tmp_path / "checkout")
    removed = environment(tmp_path / "cache", "2", tmp_path / "moved")
    used = environment(tmp_path / "cache", "3", tmp_path / "deleted")
    with subprocess.Popen([used / "bin" / "python", "-c", "input()"], stdin=subprocess.PIPE) as server:
        assert prune_environments(dry_run=True) == [removed]
        assert removed.exists()
        prune_environments(dry_run=False)
        server.communicate(b"\n")
    assert [folder.exists() for folder in (kept, removed, used)] == [True, False, True]
    lines = capsys.readouterr().err.splitlines()
    assert lines[1] == "1 environments of removed checkouts would be removed."
