"""The Azurite emulator of Azure Blob Storage."""

from __future__ import annotations

from pathlib import Path

import pulumi
import pytest
from mlplatform import blob_store

from settings.paths import VERSIONS


def test_azurite_uses_the_version_of_versions_toml_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLPLATFORM_CACHE", str(tmp_path))
    pinned = VERSIONS["azurite"]["version"]
    for version in ("9.0.0", pinned):
        with pytest.raises(pulumi.RunError, match="the Azurite emulator is not installed"):
            blob_store._azurite()
        program = tmp_path / "tools" / f"azurite-{version}" / "node_modules/azurite/dist/src/blob/main.js"
        program.parent.mkdir(parents=True)
        program.touch()
    assert blob_store._azurite()[1] == str(program)
