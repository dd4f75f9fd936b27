"""Components: compiled files that any pipeline can load."""

import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml
from kfp import dsl

from settings.paths import PROJECT
from tests.pipelines.conftest import IRIS, run
from workloads.components import BASE_IMAGE, COMPILED, component, load_component
from workloads.components.__main__ import compile_to, component_names
from workloads.ml.data.scan import table_scan
from workloads.ml.data.table import save_table
from workloads.ml.model.model_directory import load_model_directory

decision_tree = load_component("decision_tree")


@component
def two_clouds(data: dsl.Output[dsl.Dataset]) -> None:
    """Write points of two classes that one split separates."""
    import json
    from pathlib import Path

    parts = {"x_train": [[0.0], [1.0]] * 10, "y_train": [0, 1] * 10, "x_test": [[0.1], [0.9]], "y_test": [0, 1]}
    Path(data.path).write_text(json.dumps(parts))


@dsl.pipeline(name="other-project")
def other_project() -> float:
    return decision_tree(data=two_clouds().outputs["data"], max_depth=1).outputs["Output"]


@pytest.mark.parametrize("name", component_names())
def test_component_file_compiled_again_is_unchanged(name: str, tmp_path: Path) -> None:
    expected = compile_to(tmp_path, name).read_text()
    assert (COMPILED / f"{name}.yaml").read_text() == expected, "run: python -m workloads.components"


def test_compiled_folder_has_one_file_for_each_component() -> None:
    assert sorted(file.stem for file in COMPILED.glob("*.yaml")) == component_names()


@pytest.mark.parametrize("name", component_names())
def test_component_at_run_time_installs_nothing(name: str) -> None:
    container = _container(yaml.safe_load((COMPILED / f"{name}.yaml").read_text()))
    assert container["image"] == BASE_IMAGE
    assert "pip install" not in " ".join(container["command"])


def test_component_file_in_another_pipeline_runs(tmp_path: Path) -> None:
    ended = run(tmp_path / "run", other_project)
    assert ended.outputs == {"Output": 1.0}
    assert ended.artifact("decision-tree", "metrics")["metadata"] == {"accuracy": 1.0}


def test_documented_step_writes_model_directory(tmp_path: Path) -> None:
    file = tmp_path / "wine.py"
    file.write_text((PROJECT / "docs/pipelines.md").read_text().split("```python\n")[1].split("```")[0])
    step = runpy.run_path(str(file))["train_regression"].python_func
    iris = table_scan.parse(IRIS.read_bytes(), "Species")
    save_table(str(tmp_path / "train.parquet"), iris, np.ones(150, dtype=bool))
    train = SimpleNamespace(path=str(tmp_path / "train.parquet"), metadata={})
    step(train, SimpleNamespace(path=str(tmp_path / "model")), "wine", 1.0)
    signature = load_model_directory(tmp_path / "model").signature
    assert ([each["name"] for each in signature["features"]], signature["classes"]) == (iris.features, iris.classes)


def _container(package: dict[str, Any]) -> dict[str, Any]:
    (executor,) = package["deploymentSpec"]["executors"].values()
    return dict(executor["container"])
