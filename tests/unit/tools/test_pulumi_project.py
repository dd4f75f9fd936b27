"""The runtime options of the Pulumi project and of its policy pack, for Pulumi's own Python language host."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import yaml

from tools.bootstrap.paths import PROJECT

FILES = ("Pulumi.yaml", "policies/PulumiPolicy.yaml")


def options(file: str) -> dict[str, str]:
    """Return the options of the file's runtime."""
    runtime: dict[str, dict[str, str]] = yaml.safe_load((PROJECT / file).read_text())["runtime"]
    return runtime["options"]


@pytest.mark.parametrize("file", FILES)
def test_toolchain_of_the_language_host_needs_no_uv(file: str) -> None:
    """The host's default follows uv.lock, and fails unless uv is on PATH."""
    assert (PROJECT / "uv.lock").is_file()
    assert options(file)["toolchain"] == "pip"


@pytest.mark.parametrize("file", FILES)
def test_virtual_environment_of_the_language_host_is_the_one_of_make_tools(file: str) -> None:
    environment = Path((PROJECT / file).parent, options(file)["virtualenv"])
    assert environment.resolve() == (PROJECT / ".venv").resolve()


def test_virtual_environment_has_the_pip_that_the_language_host_runs() -> None:
    command = [PROJECT / ".venv" / "bin" / "python", "-m", "pip", "list", "--format", "json"]
    listed = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True).stdout
    names = {package["name"].replace("_", "-") for package in json.loads(listed)}
    assert {"pulumi", "pulumi-command", "pulumi-kubernetes"} <= names
