"""Commands over SSH on a real server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.machine import ResolvedMachine
from infra.ssh import connected
from tests.command.sshd import USER, Sshd, missing

OUTPUT_BYTES = 8 << 20
"""More than the window of an SSH channel."""


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[Sshd]:
    if reason := missing():
        pytest.skip(reason)
    server = Sshd(tmp_path)
    server.start()
    yield server
    server.stop()


@pytest.mark.timeout(60)
def test_run_with_large_output_on_both_streams_returns_all_of_it(sshd: Sshd) -> None:
    properties = {
        "name": "it",
        "role": "worker",
        "address": "127.0.0.1",
        "host": "127.0.0.1",
        "port": float(sshd.port),
        "user": USER,
        "key": sshd.key,
        "host_key": sshd.host_key,
        "bastion": None,
    }
    with connected(ResolvedMachine.parse(properties)) as shell:
        for first, second in ((1, 2), (2, 1)):
            write = f"head -c {OUTPUT_BYTES} /dev/zero"
            result = shell.run(f"{write} >&{first}; {write} >&{second}; cat; exit 3", "so")
            assert (len(result.output), len(result.error), result.code) == (OUTPUT_BYTES + 2, OUTPUT_BYTES, 3)
            assert result.output.endswith("so")
