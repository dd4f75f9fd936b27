"""Commands over SSH, to a real server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.ssh import connected
from tests.command.sshd import USER, Sshd, missing

MUCH = 8 << 20
"""Bytes; more than a channel's window."""


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[Sshd]:
    if why := missing():
        pytest.skip(why)
    server = Sshd(tmp_path)
    server.start()
    yield server
    server.stop()


@pytest.mark.timeout(60)
def test_a_command_may_write_much_to_both_sides_in_any_order(sshd: Sshd) -> None:
    machine = {
        "name": "it",
        "host": "127.0.0.1",
        "port": float(sshd.port),
        "user": USER,
        "key": sshd.key,
        "host_key": sshd.host_key,
    }
    with connected(machine) as shell:
        for first, then in ((1, 2), (2, 1)):
            done = shell.run(
                f"head -c {MUCH} /dev/zero >&{first}; head -c {MUCH} /dev/zero >&{then}; cat; exit 3", "so"
            )
            assert (len(done.output), len(done.error), done.code) == (MUCH + 2, MUCH, 3)
            assert done.output.endswith("so")
