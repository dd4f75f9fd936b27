"""Commands of the pages with ARGS: the words reach the program as they are written, through make and both shells."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from settings.paths import PROJECT

PAGES = [
    PROJECT / "README.md",
    PROJECT / "Makefile",
    *PROJECT.glob("docs/**/*.md"),
    PROJECT / "workloads" / "README.md",
]
VALUE = r"""(?:'[^']*'|"[^"]*"|[^\s`'"]+)"""
COMMAND = re.compile(rf"\bmake [a-z-]+(?: [A-Z_]+={VALUE})* ARGS={VALUE}(?: [A-Z_]+={VALUE})*")
URN = "urn:pulumi:lab::mlplatform::mlplatform:door:Door$pulumi-python:dynamic/infra:Password::door-cookie-secret"
"""URN of a resource with a parent: it has the character that make expands."""
PROGRAM = f"""#!/bin/sh
exec {shlex.quote(sys.executable)} -c 'import json, sys; print(json.dumps(sys.argv[1:]))' "$@"
"""


def commands() -> Iterator[str]:
    for page in PAGES:
        for command in COMMAND.findall(re.sub(r"\s+", " ", page.read_text())):
            yield re.sub("<[^>]*>", "name", re.sub("<URN[^>]*>|URN", URN, command))


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create a folder with the Makefile, a program that prints its arguments, and files that patterns match."""
    folder = tmp_path_factory.mktemp("checkout")
    shutil.copy(PROJECT / "Makefile", folder)
    program = folder / ".venv" / "bin" / "python"
    program.parent.mkdir(parents=True)
    program.write_text(PROGRAM)
    program.chmod(0o755)
    for name in ("kubeconfig", "old-kubeconfig"):
        (folder / name).touch()
    return folder


@pytest.mark.parametrize("command", sorted(set(commands())))
def test_arguments_of_a_page_reach_the_program_as_written(command: str, checkout: Path) -> None:
    # The program expands ~ itself, so here it stays as it is.
    environment = {"PATH": os.environ["PATH"], "PYTHON": "true", "HOME": "~"}
    done = subprocess.run(["bash", "-c", command], cwd=checkout, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (assigned,) = (word for word in shlex.split(command) if word.startswith("ARGS="))
    written = shlex.split(assigned.removeprefix("ARGS="))
    assert json.loads(done.stdout)[-len(written) :] == written


def test_pages_have_commands_with_arguments() -> None:
    assert len(list(commands())) > 25
