"""The process of a dynamic provider: it exits with the CLI that started it."""

from __future__ import annotations

import subprocess
import sys

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
