"""Tests of the harness for stacks."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.harness import isolated_environment


def test_isolated_environment_is_in_its_folder_and_selects_no_stack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PULUMI_BACKEND_URL", "file:///of-the-user")
    monkeypatch.setenv("PULUMI_HOME", "/of-the-user")
    commands: list[list[str]] = []
    run = subprocess.run

    def recording(command: list[str], **options: Any) -> Any:
        commands.append(command)
        return run(command, **options)

    monkeypatch.setattr(subprocess, "run", recording)
    environment = isolated_environment(tmp_path)
    assert environment["PULUMI_BACKEND_URL"] == f"file://{tmp_path}/state?metadata=skip"
    assert Path(environment["PULUMI_HOME"]).is_relative_to(tmp_path)
    assert [command for command in commands if command[1:] != ["version"]] == []
