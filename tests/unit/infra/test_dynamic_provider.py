"""The base class of dynamic providers: the end of their process, and errors for the user."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pulumi.dynamic import DiffResult, UpdateResult

from infra.dynamic_provider import DynamicProvider, UserError
from tools.bootstrap.paths import PROJECT

PROVIDER = """
import time
from pulumi.dynamic import ConfigureRequest
from infra.secrets import _PasswordProvider
_PasswordProvider().configure(ConfigureRequest({}))
print("configured", flush=True)
time.sleep(600)
"""


def test_configured_provider_exits_at_the_end_of_its_input() -> None:
    """A killed CLI closes the pipe. Pulumi's own provider program ignores that."""
    command = [sys.executable, "-c", PROVIDER]
    with subprocess.Popen(command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "configured\n"
        assert process.poll() is None
        process.stdin.close()
        assert process.wait(30) == 1


class _FullDiskProvider(DynamicProvider):
    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        return DiffResult(changes=True)

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        Path("/dev/full").write_text("a line")
        return UpdateResult(_news)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_provider_that_fills_the_disk_names_the_space_that_is_left() -> None:
    with pytest.raises(UserError, match=r"a file cannot be written: No space left on device.*has \d+ MB left"):
        _FullDiskProvider().update("id", {}, {})
