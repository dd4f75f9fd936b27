"""The drill of a stack with a cluster: the last backup comes up in a lab, while the machines of the stack are gone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import Stack

from ..stacks import lab_stacks
from ..test_hardship import leftovers


@pytest.fixture
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Yield a stack with the pipelines and the model of Pulumi.lab.yaml."""
    with lab_stacks(tmp_path_factory) as create:
        yield create("drilled")


def test_drill_restores_the_backup_of_a_destroyed_cluster_into_a_lab(stack: Stack, tmp_path: Path) -> None:
    del stack.settings["platform:monitoring"]
    stack.settings["platform:backup"] = {"target": str(tmp_path / "backups"), "password": "word-of-backups"}
    stack.up()
    code, output = stack.make("backup")
    assert code == 0, output
    code, output = stack.pulumi("destroy", "--yes")
    assert code == 0, output
    code, output = stack.make("drill")
    print(output[-2000:])
    assert code == 0, output
    found = re.search(r"all are equal: (\d+) runs, (\d+) versions, (\d+) predictions, (\d+) blobs\. Recovery", output)
    assert found, output
    assert all(int(count) > 0 for count in found.groups())
    assert leftovers(stack) == []
    assert not stack.file.with_name(f"Pulumi.{stack.name}-drill.yaml").exists()
