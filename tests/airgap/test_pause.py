"""The smallest entry of the table, built whole: the same each time, and whole or not at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from airgap.bundle.builders.c_program import CBuild
from airgap.bundle.builders.image import Buildah, ImageBuild
from airgap.bundle.progress import Progress
from airgap.bundle.sources import load
from airgap.bundle.store import Item, Store
from tests.airgap.conftest import needs_buildah, needs_compiler
from tests.waiting import until
from tools.bootstrap.paths import PROJECT

TABLE = load()
BUILD = """
from airgap.bundle.builders.c_program import CBuild
from airgap.bundle.progress import Progress
from airgap.bundle.store import Store
from airgap.bundle.sources import load
table, store = load(), Store.default()
build = CBuild(table, "pause", table.c["pause"])
with store.locked():
    build.build(build.item(store), Progress("pause"))
"""
SLOW_COMPILER = """#!/bin/sh
case "$*" in *-o*) touch "$STARTED"; exec sleep 60;; esac
exec {compiler} "$@"
"""


def program(store: Store) -> Item:
    build = CBuild(TABLE, "pause", TABLE.c["pause"])
    build.build(item := build.item(store), Progress("pause"))
    return item


def image(store: Store) -> Item:
    build = ImageBuild(TABLE, "pause", TABLE.image["pause"], {"pause": program(store)}, {})
    with Buildah.temporary(store, TABLE.epoch) as buildah:
        build.build(item := build.item(store), buildah, Progress("pause"))
    return item


@needs_compiler
def test_the_program_is_the_same_each_time_and_ends_when_told_to(tmp_path: Path) -> None:
    first, second = program(Store(tmp_path / "a")), program(Store(tmp_path / "b"))
    assert first.key == second.key
    assert first.record()["binaries"] == second.record()["binaries"]
    process = subprocess.Popen([first.folder / "pause"])
    time.sleep(0.2)
    assert process.poll() is None
    process.terminate()
    assert process.wait(5) == 0


@needs_compiler
def test_asked_for_its_version_it_ends_as_a_job_of_kubeadm_waits_for(tmp_path: Path) -> None:
    assert subprocess.run([program(Store(tmp_path)).folder / "pause", "-v"], timeout=5).returncode == 0


@needs_compiler
@needs_buildah
def test_the_image_has_the_same_digest_each_time(tmp_path: Path) -> None:
    first = image(Store(tmp_path / "a"))
    # Everything that a clock could have got into is more than a second older.
    time.sleep(1.1)
    second = image(Store(tmp_path / "b"))
    assert first.record()["digest"] == second.record()["digest"]
    assert (first.folder / "Dockerfile").read_text().splitlines()[-2:] == ["USER 65535:65535", 'ENTRYPOINT ["/pause"]']
    assert list((tmp_path / "a").glob("buildah*")) == []


@needs_compiler
def test_a_killed_build_leaves_nothing_that_counts_and_is_done_again(tmp_path: Path) -> None:
    store, started = Store(tmp_path / "bundle"), tmp_path / "started"
    slow = tmp_path / "bin" / "gcc"
    slow.parent.mkdir()
    real = subprocess.run(["which", "gcc"], capture_output=True, text=True, check=True).stdout.strip()
    slow.write_text(SLOW_COMPILER.format(compiler=real))
    slow.chmod(0o755)
    environment = os.environ | {"MLPLATFORM_CACHE": str(tmp_path), "STARTED": str(started)}
    environment["PATH"] = f"{slow.parent}:{environment['PATH']}"
    killed = subprocess.Popen([sys.executable, "-c", BUILD], env=environment, cwd=PROJECT)
    until(started.exists, seconds=30)
    compilers = psutil.Process(killed.pid).children(recursive=True)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    for compiler in compilers:
        compiler.kill()
    item = CBuild(TABLE, "pause", TABLE.c["pause"]).item(store)
    assert started.exists()
    assert not item.there

    subprocess.run([sys.executable, "-c", BUILD], env=os.environ | {"MLPLATFORM_CACHE": str(tmp_path)}, check=True)
    assert item.there
    assert {file.name for file in item.folder.parent.iterdir()} == {item.folder.name}
