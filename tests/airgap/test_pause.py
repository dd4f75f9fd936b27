"""A complete build of the smallest entry: reproducible, and complete or absent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from airgap.bundle.builders.c_program import CProgramBuild
from airgap.bundle.builders.debian_image import BuildahStore, ImageBuild
from airgap.bundle.progress import Progress
from airgap.bundle.source_table import load_sources
from airgap.bundle.store import Artifact, Store
from tests.airgap.conftest import needs_buildah, needs_compiler
from tests.waiting import until
from tools.bootstrap.paths import PROJECT

TABLE = load_sources()
BUILD = """
from airgap.bundle.builders.c_program import CProgramBuild
from airgap.bundle.progress import Progress
from airgap.bundle.store import Store
from airgap.bundle.source_table import load_sources
table, store = load_sources(), Store.default()
build = CProgramBuild(table, "pause", table.c["pause"])
with store.locked():
    build.build(build.artifact(store), Progress("pause", "pause"))
"""
SLOW_COMPILER = """#!/bin/sh
case "$*" in *-o*) touch "$STARTED"; exec sleep 60;; esac
exec {compiler} "$@"
"""


def program(store: Store) -> Artifact:
    build = CProgramBuild(TABLE, "pause", TABLE.c["pause"])
    build.build(artifact := build.artifact(store), Progress("pause", "pause"))
    return artifact


def image(store: Store) -> Artifact:
    build = ImageBuild(TABLE, "pause", TABLE.image["pause"], {"pause": program(store)}, {})
    with BuildahStore.temporary(store, TABLE.epoch) as buildah:
        build.build(artifact := build.artifact(store), buildah, Progress("pause", "pause"))
    return artifact


@needs_compiler
def test_pause_is_reproducible_and_ends_on_sigterm(tmp_path: Path) -> None:
    first, second = program(Store(tmp_path / "a")), program(Store(tmp_path / "b"))
    assert first.key == second.key
    assert first.record()["binaries"] == second.record()["binaries"]
    process = subprocess.Popen([first.folder / "pause"])
    time.sleep(0.2)
    assert process.poll() is None
    process.terminate()
    assert process.wait(5) == 0


@needs_compiler
def test_pause_version_flag_exits_with_zero(tmp_path: Path) -> None:
    assert subprocess.run([program(Store(tmp_path)).folder / "pause", "-v"], timeout=5).returncode == 0


@needs_compiler
@needs_buildah
def test_image_digest_is_reproducible(tmp_path: Path) -> None:
    first = image(Store(tmp_path / "a"))
    # Wait more than a second, so that a timestamp inside would differ.
    time.sleep(1.1)
    second = image(Store(tmp_path / "b"))
    assert first.record()["digest"] == second.record()["digest"]
    assert (first.folder / "Dockerfile").read_text().splitlines()[-2:] == ["USER 65535:65535", 'ENTRYPOINT ["/pause"]']
    assert list((tmp_path / "a").glob("buildah*")) == []


@needs_compiler
def test_build_killed_leaves_no_artifact_and_succeeds_again(tmp_path: Path) -> None:
    store, started = Store(tmp_path / "bundle"), tmp_path / "started"
    slow = tmp_path / "bin" / "gcc"
    slow.parent.mkdir()
    real = subprocess.run(["which", "gcc"], capture_output=True, text=True, check=True).stdout.strip()
    slow.write_text(SLOW_COMPILER.format(compiler=real))
    slow.chmod(0o755)
    environment = os.environ | {"MLPLATFORM_CACHE": str(tmp_path), "STARTED": str(started)}
    environment["PATH"] = f"{slow.parent}:{environment['PATH']}"
    killed = subprocess.Popen([sys.executable, "-c", BUILD], env=environment, cwd=PROJECT)
    until(started.exists)
    compilers = psutil.Process(killed.pid).children(recursive=True)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    for compiler in compilers:
        compiler.kill()
    artifact = CProgramBuild(TABLE, "pause", TABLE.c["pause"]).artifact(store)
    assert started.exists()
    assert not artifact.exists

    subprocess.run([sys.executable, "-c", BUILD], env=os.environ | {"MLPLATFORM_CACHE": str(tmp_path)}, check=True)
    assert artifact.exists
    assert {file.name for file in artifact.folder.parent.iterdir()} == {artifact.folder.name}
