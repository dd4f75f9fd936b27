"""Tests of the deletion of layers of earlier image builds, with buildah."""

from __future__ import annotations

import os
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from airgap.bundle.pruning.image_layers import outdated_layers, prune_image_layers

pytestmark = pytest.mark.skipif(
    os.getuid() != 0 or shutil.which("buildah") is None, reason="builds of images need root and buildah"
)
SIZE = 1_000_000


def test_prune_image_layers_removes_old_builds_and_keeps_the_layers_of_the_last_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLPLATFORM_CACHE", str(tmp_path))
    root = tmp_path / "images" / "buildah" / "vfs"
    context = tmp_path / "context"
    context.mkdir()
    (context / "Dockerfile").write_text("FROM scratch\nCOPY packages /\nCOPY code /\nUSER 1000\n")
    (context / "packages").write_text("packages")
    for build in range(2):
        (context / "code").write_bytes(bytes([build]) * SIZE)
        _buildah(root, "bud", "--isolation", "chroot", "--layers", "--tag", "image", str(context))
    before = outdated_layers(root, "vfs", datetime.now(UTC) + timedelta(days=1))
    assert SIZE < before.size < 2 * SIZE
    prune_image_layers(tmp_path / "images", 30, dry_run=False)
    prune_image_layers(tmp_path / "images", 0, dry_run=True)
    assert outdated_layers(root, "vfs", datetime.now(UTC)) == before
    prune_image_layers(tmp_path / "images", 0, dry_run=False)
    assert outdated_layers(root, "vfs", datetime.now(UTC)).images == []
    lines = capsys.readouterr().err.splitlines()
    count = len(before.images)
    assert [line.split(",")[0] for line in lines] == [
        "0 images of earlier builds removed",
        f"{count} images of earlier builds would be removed",
        f"{count} images of earlier builds removed",
    ]
    # The next build of the same files uses the layers of the last one.
    cached = _buildah(root, "bud", "--isolation", "chroot", "--layers", "--tag", "image", str(context))
    assert cached.count("Using cache") >= 2


def _buildah(root: Path, *arguments: str) -> str:
    options = ["--root", str(root), "--runroot", f"{root}-run", "--storage-driver", "vfs"]
    finished = subprocess.run(["buildah", *options, *arguments], check=True, capture_output=True, text=True)
    return finished.stdout + finished.stderr
