"""Commands over SSH on a real server, and commands in a shell of this computer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from infra.errors import UserError
from infra.machine import ResolvedMachine
from infra.ssh import Shell, connected, file_exists
from tests.command.sshd import USER, Sshd, missing
from tests.recorder import LocalShell

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


@pytest.mark.parametrize("path", ["there", "it's there"])
def test_file_exists_is_true_for_a_file_only(tmp_path: Path, path: str) -> None:
    shell = cast(Shell, LocalShell(tmp_path, 'shift; exec "$@"'))
    assert not file_exists(shell, "worker-1", str(tmp_path / path))
    (tmp_path / path).touch()
    assert file_exists(shell, "worker-1", str(tmp_path / path))
    assert not file_exists(shell, "worker-1", str(tmp_path))


@pytest.mark.parametrize(
    ("sudo", "reason"),
    [
        ("echo 'a password is required' >&2; exit 1", "failed with code 1: a password is required"),
        ("true", "failed: the machine printed '' instead of yes or no"),
    ],
    ids=["fails", "prints-nothing"],
)
def test_file_exists_with_a_failed_sudo_raises(tmp_path: Path, sudo: str, reason: str) -> None:
    shell = cast(Shell, LocalShell(tmp_path, sudo))
    with pytest.raises(UserError, match=rf"^worker-1: looking for /a {re.escape(reason)}$"):
        file_exists(shell, "worker-1", "/a")
