"""The drill of a stack with a cluster: the last backup comes up in a lab, while the machines of the stack are gone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from mlplatform.required_images import require_images
from pulumi import RunError

from settings.platform import PlatformSettings
from tests.harness import Stack

from ..stacks import lab_stacks
from ..test_hardship import leftovers


@pytest.fixture
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Yield a stack with the pipelines and the model of Pulumi.lab.yaml."""
    with lab_stacks(tmp_path_factory) as create:
        yield create("drilled")


@pytest.mark.parametrize("engine", ["job", "kubeflow"])
def test_drill_restores_the_backup_of_a_destroyed_cluster_into_a_lab(engine: str, stack: Stack, tmp_path: Path) -> None:
    stack.settings["platform:pipelines"] = engine
    if engine == "kubeflow":
        try:
            require_images(PlatformSettings(pipelines="kubeflow"))
        except RunError as error:
            pytest.skip(str(error))
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
    (result,) = re.findall(r"all are equal: (.*)\. Recovery", output)
    counts = {kind: int(count) for count, kind in (each.split(" ", 1) for each in result.split(", "))}
    kinds = [
        "runs",
        "versions",
        "predictions",
        "blobs",
        *(["runs in Kubeflow Pipelines"] if engine == "kubeflow" else []),
    ]
    assert list(counts) == kinds
    assert all(counts.values()), counts
    assert leftovers(replace(stack, name=f"{stack.name}-drill")) == []
    assert not stack.file.with_name(f"Pulumi.{stack.name}-drill.yaml").exists()
