"""The store of the bundle's tests, and marks that skip tests without a program."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from airgap.bundle.store import Store

needs_compiler = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")
needs_go = pytest.mark.skipif(shutil.which("go") is None, reason="go is not installed")
needs_skopeo = pytest.mark.skipif(shutil.which("skopeo") is None, reason="skopeo is not installed")
needs_buildah = pytest.mark.skipif(
    shutil.which("buildah") is None or os.geteuid() != 0, reason="buildah is not installed, or this is not root"
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "bundle")
