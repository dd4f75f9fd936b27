"""A server whose disk is full, and what killed servers leave behind."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from model_server import metrics_folder
from tests.server.running import running, wait_until
from tests.server.training import Trained

SETOSA = {"petal_length": 1.4, "petal_width": 0.2, "sepal_length": 5.1, "sepal_width": 3.5}
REQUESTS = 50


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Yield a file system of one MiB."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)]
    if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root may mount a file system")
    yield tmp_path
    subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


@pytest.mark.skipif(not metrics_folder.SHARED_MEMORY.is_dir(), reason="this system has no shared memory")
def test_server_whose_disk_is_full_answers_and_counts(small_disk: Path, iris: Trained) -> None:
    with running(small_disk / "log", DIRECTORY=iris.folder, CACHE=small_disk, WORKERS=1) as server:
        with suppress(OSError), (small_disk / "filler").open("wb", buffering=0) as filler:
            while True:
                filler.write(bytes(4096))
        assert {server.score(SETOSA).status_code for _ in range(REQUESTS)} == {200}
        counted = f'model_server_requests_total{{method="POST",path="/score",status="200"}} {REQUESTS:.1f}'
        wait_until(lambda: counted in server.get("/metrics").text, f"the metrics lack {counted}")


@pytest.mark.skipif(not metrics_folder.SHARED_MEMORY.is_dir(), reason="this system has no shared memory")
def test_folder_of_a_killed_server_is_removed_by_the_next() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    names = [f"{metrics_folder.PREFIX}{pid}-test" for pid in (ended.pid, os.getpid())]
    folders = [metrics_folder.SHARED_MEMORY / name for name in names]
    for folder in folders:
        folder.mkdir()
    try:
        with metrics_folder.metrics_folder(None):
            assert [folder.exists() for folder in folders] == [False, True]
    finally:
        folders[1].rmdir()
