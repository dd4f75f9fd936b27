"""The project's pipelines, run by the runner that the platform uses."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tests.pipelines.conftest import IRIS, Run, run
from workloads import pipelines
from workloads.ml import model_registry, tracking
from workloads.ml.data import table
from workloads.ml.data.scan import table_scan
from workloads.ml.data.table import save_table
from workloads.ml.evaluation import scores
from workloads.ml.model import forest
from workloads.ml.model.model_directory import load_model_directory
from workloads.runs.compile import compile_pipeline

QUALITY = {"accuracy", "precision", "recall", "f1", "roc_auc", "log_loss"}
PLOTS = {
    "confusion_matrix",
    "roc_curve",
    "precision_recall_curve",
    "calibration",
    "permutation_importance",
    "feature_importance",
}


@pytest.fixture(scope="module")
def wine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write Wine as CSV: 13 features with names that are not identifiers. Returns the file."""
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
    """Run the pipeline that was written for Iris with Wine; the accuracy is above the baseline."""
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


def test_iris_external_above_baseline_sets_champion(deployed: Run, mlflow_url: str) -> None:
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


def test_iris_external_with_other_data_keeps_names_and_classes(deployed: Run, mlflow_url: str) -> None:
    signature = model_registry.fetch(mlflow_url, "wine", "1").signature
    assert [feature["name"] for feature in signature["features"]][-2:] == ["od280/od315_of_diluted_wines", "proline"]
    assert len(signature["features"]) == 13
    assert (signature["target"], signature["classes"]) == ("Kind of Wine", ["kind 0", "kind 1", "kind 2"])
    assert signature["data"]["rows"] == 178
    assert set(signature["metrics"]) == QUALITY
    assert signature["metrics"]["accuracy"] == deployed.outputs["accuracy"]


def test_report_of_tested_model_shows_plots(deployed: Run) -> None:
    report = Path(deployed.artifact("test-model", "report")["uri"]).read_text()
    assert report.count("data:image/png;base64,") == len(PLOTS)
    assert f"{deployed.outputs['accuracy']:.4f}" in report
    matrix = deployed.artifact("test-model", "confusion")["metadata"]["confusionMatrix"]
    assert [spec["displayName"] for spec in matrix["annotationSpecs"]] == ["kind 0", "kind 1", "kind 2"]


def test_record_finds_the_experiment_run_of_its_step(deployed: Run, mlflow_url: str) -> None:
    result = SimpleNamespace(succeeded=True, **deployed.result)
    for _ in range(2):
        run_id = tracking.record(mlflow_url, "iris-external", "wine-1", {"trees": 100}, result, {"git_commit": "abc"})
    mlflow = tracking.client(mlflow_url)
    assert mlflow.get_model_version("wine", "1").run_id == run_id
    recorded = mlflow.get_run(run_id)
    assert recorded.info.status == "FINISHED"
    assert recorded.data.params == {"trees": "100"}
    assert set(recorded.data.metrics) == QUALITY | {"size", "latency"}
    assert len(mlflow.get_metric_history(run_id, "accuracy")) == 1
    assert recorded.data.tags["git_commit"] == "abc"
    assert recorded.data.tags["decision"] == deployed.outputs["decision"]
    assert recorded.inputs
    (data,) = recorded.inputs.dataset_inputs
    assert data.dataset.name == "wine.csv"
    assert recorded.data.tags["data.rows"] == "178"
    shown = {file.path for file in mlflow.list_artifacts(run_id, "test-model/plots")}
    assert shown == {f"test-model/plots/{name}.png" for name in PLOTS}
    assert [file.path for file in mlflow.list_artifacts(run_id, "test-model")] == [
        "test-model/plots",
        "test-model/report.html",
    ]


def test_iris_external_at_baseline_keeps_champion(mlflow_url: str, tmp_path: Path) -> None:
    content = IRIS.read_bytes()
    iris = table_scan.parse(content, "Species")
    train, test = table.split(iris.labels, seed=0)
    save_table(str(tmp_path / "train.parquet"), iris, train)
    forest.train_forest(str(tmp_path / "train.parquet"), tmp_path / "model", "iris", 100, 123)
    expected = load_model_directory(tmp_path / "model")
    matrix = scores.confusion(iris.labels[test], expected.predict(iris.rows[test])[0], 3)
    accuracy = scores.scores(matrix)["accuracy"]

    ended = run(tmp_path / "run", "iris-external", tracking_url=mlflow_url, data_url=IRIS.as_uri(), baseline=accuracy)

    assert ended.outputs["accuracy"] == accuracy
    assert (ended.outputs["deployed"], ended.outputs["version"]) == (False, "")
    assert "= baseline" in ended.outputs["decision"]
    assert "not above it" in ended.outputs["decision"]
    assert [step["name"] for step in ended.result["steps"]][-1] == "keep-model"
    assert tracking.client(mlflow_url).search_model_versions("name = 'iris'") == []
    again = load_model_directory(Path(ended.artifact("train-model", "model")["uri"]))
    assert again.signature["sha256"] == expected.signature["sha256"], "training in another process gives another model"


def test_batch_predict_scores_file_with_registered_version(
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
    whole = table_scan.parse(wine.read_bytes(), "Kind of Wine")
    labels, probabilities = model_registry.fetch(mlflow_url, "wine", "1").predict(whole.rows)
    assert Counter(row["class"] for row in rows) == Counter(whole.classes[label] for label in labels)
    assert np.allclose([float(row["probability"]) for row in rows], probabilities.max(axis=1))


def test_batch_predict_in_shards_predicts_as_one_step(
    deployed: Run, wine: Path, mlflow_url: str, tmp_path: Path
) -> None:
    header, *lines = wine.read_text().splitlines(keepends=True)
    (tmp_path / "wine").mkdir()
    for number, part in enumerate((lines[:100], lines[100:])):
        (tmp_path / "wine" / f"{number}.csv").write_text("".join([header, *part]))
    ended = run(
        tmp_path / "run",
        "batch-predict",
        tracking_url=mlflow_url,
        model_name="wine",
        model_version=deployed.outputs["version"],
        data_url=str(tmp_path / "wine"),
        destination=f"file://{tmp_path}/answers/",
        shards=2,
    )
    assert ended.result["state"] == "SUCCEEDED", ended.log
    assert ended.outputs == {"rows": 178, "predictions": f"file://{tmp_path}/answers/"}
    parts = [file.read_text().splitlines() for file in sorted((tmp_path / "answers").glob("*.csv"))]
    assert [len(part) for part in parts] == [101, 79]
    assert parts[0][0] == parts[1][0]
    manifest = json.loads((tmp_path / "answers" / "_manifest.json").read_text())
    assert (manifest["rows"], manifest["model"]) == (178, "wine")


def test_pipeline_names() -> None:
    assert pipelines.pipeline_names() == [
        "anomaly",
        "batch-predict",
        "drift-check",
        "foreign-model",
        "iris-external",
        "iris-local",
        "regression",
        "smoke-test",
        "tuned",
        "tuned-regression",
    ]


@pytest.mark.parametrize("name", pipelines.pipeline_names())
def test_pipeline_compiles_and_reads_every_kind_of_data(name: str) -> None:
    parameters = compile_pipeline(name, "image", 0).parameters
    reading = {"account_url", "container", "blob", "data_url", "csv_format"}
    assert reading <= set(parameters) or not reading & set(parameters)


def test_load_unknown_pipeline_raises_error_with_names() -> None:
    with pytest.raises(
        ValueError,
        match="pipeline iris does not exist; "
        "the pipelines are: anomaly, batch-predict, drift-check, foreign-model, "
        "iris-external, iris-local, regression, smoke-test",
    ):
        pipelines.load_pipeline("iris")


@pytest.fixture
def user_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a second folder in which pipelines are found."""
    monkeypatch.setattr(pipelines, "__path__", [*pipelines.__path__, str(tmp_path)])
    return tmp_path


ONE = """
from kfp import dsl
from workloads.components import load_component
from workloads.pipelines.iris_local import iris_local
@dsl.pipeline(name="{name}")
def {name}():
    load_component("download_data")()
"""


def test_load_pipeline_that_imports_another(user_folder: Path) -> None:
    (user_folder / "my_own.py").write_text(ONE.format(name="mine"))
    assert pipelines.load_pipeline("my-own").name == "mine"


@pytest.mark.parametrize(("count", "found"), [(0, "none"), (2, "a, b")])
def test_load_file_without_exactly_one_pipeline_raises_error(user_folder: Path, count: int, found: str) -> None:
    (user_folder / f"has_{count}.py").write_text("".join(ONE.format(name=name) for name in "ab"[:count]))
    with pytest.raises(ValueError, match=f"exactly one @dsl.pipeline function; found: {found}"):
        pipelines.load_pipeline(f"has-{count}")
