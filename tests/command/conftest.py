"""A plugin and two SSH servers for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .plugin import EXECUTABLE, Plugin
from .sshd import Sshd, missing


@pytest.fixture(scope="session")
def plugin() -> Iterator[Plugin]:
    with Plugin() as running:
        yield running


@pytest.fixture
def own_plugin(tmp_path: Path) -> Iterator[Plugin]:
    """Start a plugin that the test may stop, through a symbolic link as in the tools folder."""
    link = tmp_path / EXECUTABLE.name
    link.symlink_to(EXECUTABLE)
    with Plugin(executable=link) as running:
        yield running


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    yield from _server(tmp_path_factory)


@pytest.fixture(scope="session")
def bastion(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """Start a second server with other keys: the jump host."""
    yield from _server(tmp_path_factory)


@pytest.fixture
def stopped_sshd(tmp_path: Path) -> Sshd:
    """Return a server that is not started yet."""
    if reason := missing():
        pytest.skip(reason)
    return Sshd(tmp_path)


def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    if reason := missing():
        pytest.skip(reason)
    server = Sshd(tmp_path_factory.mktemp("sshd"))
    server.start()
    yield server
    server.stop()
