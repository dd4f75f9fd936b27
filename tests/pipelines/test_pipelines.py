"""The project's pipelines, run as the platform runs them."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.pipelines.conftest import IRIS, Run, run
from workloads import pipelines
from workloads.ml import evaluation, model, registry, table, tracking, training


@pytest.fixture(scope="module")
def wine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wine, 13 features with names that are no identifiers, as CSV."""
    from sklearn.datasets import load_wine

    data = load_wine()
    file = tmp_path_factory.mktemp("data") / "wine.csv"
    with file.open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow([*data.feature_names, "Kind of Wine"])
        writer.writerows([*row, f"kind {label}"] for row, label in zip(data.data.tolist(), data.target, strict=True))
    return file


@pytest.fixture(scope="module")
def deployed(wine: Path, mlflow_url: str, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Wine through the pipeline that was written for Iris, above its baseline."""
    return run(
        tmp_path_factory.mktemp("deployed") / "run",
        "iris-external",
        tracking_url=mlflow_url,
        data_url=wine.as_uri(),
        target="Kind of Wine",
        model_name="wine",
        baseline=0.5,
        run_key="wine-1",
    )


def test_iris_local_compares_two_classifiers(tmp_path: Path) -> None:
    ended = run(tmp_path / "run", "iris-local")
    assert ended.result["state"] == "SUCCEEDED", ended.log
    tree, regression = ended.outputs["decision_tree_accuracy"], ended.outputs["logistic_regression_accuracy"]
    assert 0.8 < tree <= 1
    assert 0.8 < regression <= 1
    assert ended.artifact("decision-tree", "metrics")["metadata"] == {"accuracy": tree}
    assert ended.artifact("logistic-regression", "metrics")["metadata"] == {"accuracy": regression}
    summary = Path(ended.artifact("show-results", "summary")["uri"]).read_text()
    for accuracy in (tree, regression):
        assert f"{accuracy:.4f}" in summary
        assert f"accuracy: {accuracy:.4f}" in ended.log


def test_model_above_the_baseline_is_champion(deployed: Run, mlflow_url: str) -> None:
    assert deployed.result["state"] == "SUCCEEDED", deployed.log
    accuracy = deployed.outputs["accuracy"]
    assert deployed.outputs == {
        "accuracy": accuracy,
        "deployed": True,
        "version": "1",
        "decision": f"accuracy {accuracy:.3g} > baseline 0.5: wine version 1 is champion",
    }
    mlflow = tracking.client(mlflow_url)
    champion = mlflow.get_model_version_by_alias("wine", "champion")
    assert (champion.version, champion.tags["accuracy"], champion.tags["run"]) == ("1", str(accuracy), "wine-1")


def test_other_data_go_the_whole_way_with_their_own_names_and_classes(deployed: Run, mlflow_url: str) -> None:
    signature = registry.fetch(mlflow_url, "wine", "1").signature
    assert [feature["name"] for feature in signature["features"]][-2:] == ["od280_od315_of_diluted_wines", "proline"]
    assert len(signature["features"]) == 13
    assert (signature["target"], signature["classes"]) == ("kind_of_wine", ["kind 0", "kind 1", "kind 2"])
    assert signature["data"]["rows"] == 178
    assert set(signature["metrics"]) == {"accuracy", "precision", "recall", "f1"}
    assert signature["metrics"]["accuracy"] == deployed.outputs["accuracy"]


def test_tested_model_has_a_page_with_its_plots(deployed: Run) -> None:
    report = Path(deployed.artifact("test-model", "report")["uri"]).read_text()
    assert report.count("data:image/png;base64,") == 2
    assert f"{deployed.outputs['accuracy']:.4f}" in report
    matrix = deployed.artifact("test-model", "confusion")["metadata"]["confusionMatrix"]
    assert [spec["displayName"] for spec in matrix["annotationSpecs"]] == ["kind 0", "kind 1", "kind 2"]


def test_run_and_its_step_meet_in_one_experiment_run(deployed: Run, mlflow_url: str) -> None:
    result = SimpleNamespace(succeeded=True, **deployed.result)
    for _ in range(2):
        run_id = tracking.record(mlflow_url, "iris-external", "wine-1", {"trees": 100}, result, {"git_commit": "abc"})
    mlflow = tracking.client(mlflow_url)
    assert mlflow.get_model_version("wine", "1").run_id == run_id
    recorded = mlflow.get_run(run_id)
    assert recorded.info.status == "FINISHED"
    assert recorded.data.params == {"trees": "100"}
    assert set(recorded.data.metrics) == {"accuracy", "precision", "recall", "f1"}
    assert len(mlflow.get_metric_history(run_id, "accuracy")) == 1
    assert recorded.data.tags["git_commit"] == "abc"
    assert recorded.data.tags["decision"] == deployed.outputs["decision"]
    assert recorded.inputs
    (data,) = recorded.inputs.dataset_inputs
    assert data.dataset.name == "wine.csv"
    assert recorded.data.tags["data.rows"] == "178"
    shown = {file.path for file in mlflow.list_artifacts(run_id, "test-model/plots")}
    assert shown == {"test-model/plots/confusion_matrix.png", "test-model/plots/feature_importance.png"}
    assert [file.path for file in mlflow.list_artifacts(run_id, "test-model")] == [
        "test-model/plots",
        "test-model/report.html",
    ]


def test_accuracy_that_equals_the_baseline_is_not_above_it(mlflow_url: str, tmp_path: Path) -> None:
    content = IRIS.read_bytes()
    iris = table.parse(content, "Species")
    train, test = table.split(iris.labels, seed=0)
    table.save(str(tmp_path / "train.csv"), iris, train)
    about: dict[str, Any] = {"features": iris.features, "target": iris.target, "classes": iris.classes}
    about |= {"source": IRIS.as_uri(), "sha256": model.digest(content), "rows": 150}
    training.train_forest(str(tmp_path / "train.csv"), about, tmp_path / "model", "iris", 100, 123)
    trained = model.load(tmp_path / "model")
    matrix = evaluation.confusion(iris.labels[test], trained.predict(iris.rows[test])[0], 3)
    accuracy = evaluation.scores(matrix)["accuracy"]

    ended = run(tmp_path / "run", "iris-external", tracking_url=mlflow_url, data_url=IRIS.as_uri(), baseline=accuracy)

    assert ended.outputs["accuracy"] == accuracy
    assert (ended.outputs["deployed"], ended.outputs["version"]) == (False, "")
    assert "= baseline" in ended.outputs["decision"]
    assert "not above it" in ended.outputs["decision"]
    assert [step["name"] for step in ended.result["steps"]][-1] == "keep-model"
    assert tracking.client(mlflow_url).search_model_versions("name = 'iris'") == []
    again = model.load(Path(ended.artifact("train-model", "model")["uri"]))
    assert again.signature["sha256"] == trained.signature["sha256"], "another process trains another model"


def test_batch_predict_scores_a_whole_file_with_a_registered_version(
    deployed: Run, wine: Path, mlflow_url: str, tmp_path: Path
) -> None:
    ended = run(
        tmp_path / "run",
        "batch-predict",
        tracking_url=mlflow_url,
        model_name="wine",
        model_version=deployed.outputs["version"],
        data_url=wine.as_uri(),
        destination=f"file://{tmp_path}/new folder/answers.csv",
    )
    assert ended.result["state"] == "SUCCEEDED", ended.log
    assert ended.outputs["rows"] == 178
    written = Path(ended.outputs["predictions"]).read_text()
    assert (tmp_path / "new folder" / "answers.csv").read_text() == written
    rows = list(csv.DictReader(written.splitlines()))
    assert list(rows[0])[-3:] == ["proline", "class", "probability"]
    table_ = table.parse(wine.read_bytes(), "Kind of Wine")
    labels, probabilities = registry.fetch(mlflow_url, "wine", "1").predict(table_.rows)
    assert Counter(row["class"] for row in rows) == Counter(table_.classes[label] for label in labels)
    assert np.allclose([float(row["probability"]) for row in rows], probabilities.max(axis=1))


def test_there_are_these_pipelines() -> None:
    assert pipelines.names() == ["batch-predict", "drift-check", "iris-external", "iris-local", "smoke-test"]


def test_pipeline_that_is_not_there_is_told_with_those_that_are() -> None:
    with pytest.raises(
        ValueError,
        match="no pipeline iris; there are: batch-predict, drift-check, iris-external, iris-local, smoke-test",
    ):
        pipelines.load("iris")


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's pipeline file beside the project's."""
    monkeypatch.setattr(pipelines, "__path__", [*pipelines.__path__, str(tmp_path)])
    return tmp_path


ONE = """
from kfp import dsl
from workloads.components import load
from workloads.pipelines.iris_local import iris_local
@dsl.pipeline(name="{name}")
def {name}():
    load("download_data")()
"""


def test_users_pipeline_is_one_file_and_may_use_another(own: Path) -> None:
    (own / "my_own.py").write_text(ONE.format(name="mine"))
    assert pipelines.load("my-own").name == "mine"


@pytest.mark.parametrize(("count", "found"), [(0, "none"), (2, "a, b")])
def test_file_without_exactly_one_pipeline_is_refused(own: Path, count: int, found: str) -> None:
    (own / f"has_{count}.py").write_text("".join(ONE.format(name=name) for name in "ab"[:count]))
    with pytest.raises(ValueError, match=f"exactly one @dsl.pipeline function; found: {found}"):
        pipelines.load(f"has-{count}")
