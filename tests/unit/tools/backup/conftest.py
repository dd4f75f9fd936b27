"""Programs that stand in for those of the system."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness import CHECKOUT


@pytest.fixture
def install_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Return a function that puts a script with this name and text first on PATH."""

    def install(name: str, text: str) -> None:
        program = tmp_path / "bin" / name
        program.parent.mkdir()
        program.write_text(text)
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")

    return install


@pytest.fixture
def restic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put the stand-in for restic on PATH, and return it."""
    program = tmp_path / "bin" / "restic"
    program.parent.mkdir()
    shutil.copy(CHECKOUT / "tests" / "restic_stand_in.py", program)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    return program
