"""Trained models: exported, tested, registered, used for batch prediction."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from model_server.model import model_package
from tests.pipelines.conftest import IRIS
from tests.pipelines.models import constant_model
from tests.pipelines.scored import score_csv
from workloads.ml import model_registry, tracking
from workloads.ml.artifact_metadata import unwrap_kfp
from workloads.ml.data.scan import table_scan
from workloads.ml.data.table import save_table
from workloads.ml.errors import StepError
from workloads.ml.evaluation import report, scores, verdict
from workloads.ml.model import forest, model_directory
from workloads.ml.model.model_directory import (
    RESERVED_KEYS,
    build_signature,
    load_model_directory,
    save_model_directory,
    sha256_hex,
)
from workloads.ml.model.onnx_export import classifier_to_onnx, forest_to_onnx

pytestmark = pytest.mark.filterwarnings("ignore:Some inputs do not have OOB scores")
METRICS = {"accuracy": 0.9, "precision": 0.9, "recall": 0.9, "f1": 0.9}


def train_iris(folder: Path, trees: int = 5, name: str = "iris") -> Path:
    """Train a small forest on all of Iris. Returns its model directory."""
    content = IRIS.read_bytes()
    iris = table_scan.parse(content, "Species", IRIS.as_uri())
    save_table(str(folder / "all.parquet"), iris, np.ones(150, dtype=bool))
    forest.train_forest(str(folder / "all.parquet"), folder / "model", name, trees, 123)
    return folder / "model"


@pytest.mark.parametrize("trees", [1, 100])
@pytest.mark.parametrize("dataset", ["load_iris", "load_wine", "load_breast_cancer"])
def test_forest_to_onnx_on_rows_thresholds_and_ties_predicts_as_scikit_learn(dataset: str, trees: int) -> None:
    from onnxruntime import InferenceSession
    from sklearn import datasets
    from sklearn.ensemble import RandomForestClassifier

    rows, labels = getattr(datasets, dataset)(return_X_y=True)
    rows = rows.astype(np.float32)
    forest = RandomForestClassifier(trees, random_state=123).fit(rows[::2], labels[::2])
    thresholds = np.concatenate([tree.tree_.threshold for tree in forest.estimators_]).astype(np.float32)
    random = np.random.RandomState(0)
    mixed = rows[random.randint(len(rows), size=5000)]
    mixed = np.where(random.rand(*mixed.shape) < 0.5, random.choice(thresholds, mixed.shape), mixed)
    rows = np.concatenate([rows, mixed])

    answers, probabilities = InferenceSession(forest_to_onnx(forest)).run(None, {"features": rows})

    expected = forest.predict_proba(rows)
    ties = (expected == expected.max(axis=1, keepdims=True)).sum(axis=1) > 1
    assert ties.any() or trees == 1 or dataset == "load_iris"
    assert (answers == forest.predict(rows)).all()
    assert np.allclose(probabilities, expected, atol=1e-7)
    assert (answers.dtype, probabilities.dtype) == (np.int64, np.float32)


@pytest.mark.parametrize("dataset", ["load_wine", "load_breast_cancer"])
def test_classifier_to_onnx_predicts_as_scikit_learn(dataset: str) -> None:
    from onnxruntime import InferenceSession
    from sklearn import datasets
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rows, labels = getattr(datasets, dataset)(return_X_y=True)
    rows = rows.astype(np.float32)
    classifier = make_pipeline(StandardScaler(), LogisticRegression()).fit(rows, labels)
    onnx = classifier_to_onnx(classifier)
    answers, probabilities = InferenceSession(onnx).run(["label", "probabilities"], {"features": rows})
    assert (answers == classifier.predict(rows)).all()
    assert np.allclose(probabilities, classifier.predict_proba(rows), atol=1e-5)
    assert onnx == classifier_to_onnx(classifier)


def test_train_forest_on_same_data_writes_same_bytes(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        train_iris(tmp_path / name)
    first, second = ((tmp_path / name / "model" / "model.onnx").read_bytes() for name in ("first", "second"))
    assert first == second


def test_signature_describes_features_classes_and_data(tmp_path: Path) -> None:
    signature = json.loads((train_iris(tmp_path) / "signature.json").read_text())
    first = signature["features"][0]
    assert first.pop("ranges")["edges"] == [4.9, 5.2, 5.6, 6.0, 6.3, 6.7]
    assert first == {"name": "sepal_length", "minimum": 4.3, "maximum": 7.9, "mean": 5.843333, "type": "number"}
    assert signature["classes"] == ["setosa", "versicolor", "virginica"]
    assert signature["data"] == {
        "source": IRIS.as_uri(),
        "sha256": sha256_hex(IRIS.read_bytes()),
        "rows": 150,
    }
    assert set(signature) == set(model_directory.Signature.__annotations__) - {"targets", "unit"}
    assert set(signature["libraries"]) == {"scikit-learn", "skl2onnx", "onnx", "python"}


def test_load_changed_model_raises_error(tmp_path: Path) -> None:
    folder = train_iris(tmp_path)
    (folder / "model.onnx").write_bytes((folder / "model.onnx").read_bytes() + b"\0")
    with pytest.raises(StepError, match=r"model.onnx was changed"):
        load_model_directory(folder)


def test_train_forest_without_trees_raises_error(tmp_path: Path) -> None:
    with pytest.raises(StepError, match="trees: 0; a forest has at least one"):
        train_iris(tmp_path, trees=0)


def test_onnx_runtime_writes_no_usage_data(tmp_path: Path) -> None:
    folder = train_iris(tmp_path)
    script = "import sys, numpy; from pathlib import Path; from workloads.ml.model import model_directory\n"
    script += "model_directory.load_model_directory(Path(sys.argv[1])).predict(numpy.zeros((1, 4), numpy.float32))"
    home = tmp_path / "home"
    home.mkdir()
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
    }  # CI's variables disable the reports too
    subprocess.run([sys.executable, "-c", script, str(folder)], env=environment, check=True)
    assert list(home.rglob("*")) == []


@pytest.mark.parametrize("labels", [[0, 0, 1, 1, 2, 2], [0, 0, 0, 0, 0, 2]])
@pytest.mark.parametrize("predicted", [[0, 1, 1, 1, 2, 0], [0, 0, 0, 0, 0, 0]])
def test_scores_equal_scikit_learn(labels: list[int], predicted: list[int]) -> None:
    from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support

    classes = [0, 1, 2]
    matrix = scores.confusion(np.array(labels), np.array(predicted), 3)
    assert (matrix == confusion_matrix(labels, predicted, labels=classes)).all()
    precision, recall, f1, _ = precision_recall_fscore_support(
        labels, predicted, labels=classes, average="macro", zero_division=0
    )
    expected = {"accuracy": accuracy_score(labels, predicted), "precision": precision, "recall": recall, "f1": f1}
    assert scores.scores(matrix) == pytest.approx(expected)


def test_plots_of_many_classes_and_features_are_png() -> None:
    plots = [
        report.plot_confusion(np.eye(60, dtype=np.int64), [f"class {i}" for i in range(60)]),
        report.plot_importance({f"feature {i}": i / 100 for i in range(100)}),
    ]
    assert all(plot.startswith(b"\x89PNG") for plot in plots)


@pytest.mark.parametrize(
    ("accuracy", "baseline", "expected"),
    [
        (0.9666666666666667, 0.7, "accuracy 0.967 > baseline 0.7"),
        (0.5, 0.7, "accuracy 0.5 < baseline 0.7"),
        (0.9666666666666667, 0.9666666666666667, "accuracy 0.967 = baseline 0.967"),
        (0.9666666666666667, 0.967, "accuracy 0.966667 < baseline 0.967"),
        (0.9333333333333333, 0.9333333333333332, "accuracy 0.93333333333333335 > baseline 0.93333333333333324"),
    ],
)
def test_format_gate_has_enough_digits(accuracy: float, baseline: float, expected: str) -> None:
    assert verdict.format_gate(accuracy, baseline) == expected


def test_register_same_model_again_reuses_its_version(tmp_path: Path, mlflow_url: str) -> None:
    for name in ("small", "large"):
        (tmp_path / name).mkdir()
    small, large = train_iris(tmp_path / "small", 2, "twice"), train_iris(tmp_path / "large", 3, "twice")
    mlflow = tracking.client(mlflow_url)

    def register(folder: Path, key: str) -> str:
        version = model_registry.register(mlflow_url, folder, "twice", METRICS, "some-pipeline", key)
        assert mlflow.get_model_version_by_alias("twice", "champion").version == version
        return version

    assert [register(small, "a"), register(small, "b"), register(large, "c"), register(small, "d")] == [
        "1",
        "1",
        "2",
        "1",
    ]
    assert len(mlflow.search_model_versions("name = 'twice'")) == 2
    first = mlflow.get_model_version("twice", "1")
    sha256 = sha256_hex((small / "model.onnx").read_bytes())
    fetched = model_registry.fetch(mlflow_url, "twice", "1")
    features = sha256_hex(json.dumps(fetched.signature["features"]).encode())
    assert first.tags == {
        "sha256": sha256,
        "features": features,
        "accuracy": "0.9",
        "pipeline": "some-pipeline",
        "run": "a",
    }
    assert fetched.signature["metrics"] == METRICS
    assert fetched.onnx == (small / "model.onnx").read_bytes()


def test_register_same_model_with_new_description_adds_a_version(tmp_path: Path, mlflow_url: str) -> None:
    folder = train_iris(tmp_path, name="described")
    known = load_model_directory(folder)
    for feature in known.signature["features"]:
        feature.pop("ranges")
    save_model_directory(tmp_path / "before", known.onnx, known.signature)
    versions = [
        model_registry.register(mlflow_url, each, "described", METRICS, "some-pipeline", key)
        for key, each in (("a", tmp_path / "before"), ("b", folder), ("c", folder))
    ]
    assert versions == ["1", "2", "2"]


@pytest.mark.parametrize(
    "change", [{"classes": ["0", "1", "2"]}, {"target": "kind"}, {"unit": "EUR"}], ids=["classes", "target", "unit"]
)
def test_register_same_onnx_that_answers_otherwise_adds_a_version(
    change: dict[str, Any], tmp_path: Path, mlflow_url: str
) -> None:
    folder, name = train_iris(tmp_path, name="answers"), f"answers-{next(iter(change))}"
    known = load_model_directory(folder)
    save_model_directory(tmp_path / "after", known.onnx, known.signature | change)  # type: ignore[arg-type]
    versions = [
        model_registry.register(mlflow_url, each, name, METRICS, "some-pipeline", key)
        for key, each in (("a", folder), ("b", tmp_path / "after"), ("c", tmp_path / "after"), ("d", folder))
    ]
    assert versions == ["1", "2", "2", "1"]


@pytest.mark.parametrize("harm", ["changed", "without a signature", "lost"])
def test_register_model_whose_files_are_changed_or_lost_adds_a_version(
    harm: str, tmp_path: Path, mlflow_url: str, mlflow_folder: Path
) -> None:
    folder, name = train_iris(tmp_path, name="harmed"), f"harmed-{harm.replace(' ', '-')}"
    model_registry.register(mlflow_url, folder, name, METRICS, "some-pipeline", "a")
    stored = stored_files(mlflow_url, mlflow_folder, name)
    if harm == "changed":
        (stored / "model.onnx").write_bytes(b"other")
    elif harm == "without a signature":
        (stored / "signature.json").write_bytes(b"{")
    else:
        shutil.rmtree(stored)
    with pytest.raises(model_registry.ChangedFilesError, match=f"model {name} version '1' (was changed|has lost its)"):
        model_registry.fetch(mlflow_url, name, "1")
    assert model_registry.register(mlflow_url, folder, name, METRICS, "some-pipeline", "b") == "2"
    assert model_registry.fetch(mlflow_url, name, "2").onnx == (folder / "model.onnx").read_bytes()


def test_register_while_the_store_fails_adds_no_version(tmp_path: Path, mlflow_url: str, mlflow_folder: Path) -> None:
    folder, name = train_iris(tmp_path, name="unread"), "unread"
    model_registry.register(mlflow_url, folder, name, METRICS, "some-pipeline", "a")
    file = stored_files(mlflow_url, mlflow_folder, name) / "model.onnx"
    file.unlink()
    file.symlink_to(file)  # MLflow responds 500 to each request for a link to itself
    with pytest.raises(StepError, match="model unread version '1' cannot be read from") as raised:
        model_registry.register(mlflow_url, folder, name, METRICS, "some-pipeline", "b")
    assert not isinstance(raised.value, model_registry.ChangedFilesError)
    assert len(tracking.client(mlflow_url).search_model_versions(f"name = '{name}'")) == 1


def test_two_models_of_a_run_keep_their_files(tmp_path: Path, mlflow_url: str) -> None:
    for name in ("north", "south"):
        (tmp_path / name).mkdir()
    folders = {name: train_iris(tmp_path / name, trees, name) for name, trees in (("north", 2), ("south", 3))}
    for name, folder in folders.items():
        model_registry.register(mlflow_url, folder, name, METRICS, "two-models", "run-1")
    for name, folder in folders.items():
        assert model_registry.fetch(mlflow_url, name, "1").onnx == (folder / "model.onnx").read_bytes()
    runs = {tracking.client(mlflow_url).get_model_version(name, "1").run_id for name in folders}
    assert len(runs) == 1


def stored_files(mlflow_url: str, mlflow_folder: Path, name: str) -> Path:
    """Return the folder in which the server has the files of version 1."""
    source = tracking.client(mlflow_url).get_model_version(name, "1").source
    assert source
    return mlflow_folder / "artifacts" / source.removeprefix("mlflow-artifacts:/")


def test_target_with_the_name_of_another_key_of_a_response_is_refused() -> None:
    assert {str(task): keys for task, keys in RESERVED_KEYS.items()} == model_package.RESERVED_KEYS
    about = {"target": "probabilities", "features": ["x"], "classes": ["a", "b"]}
    with pytest.raises(StepError, match="target: 'probabilities'; every response of a classification has that key"):
        build_signature("m", b"", np.zeros((2, 1), np.float32), about)


def test_fetch_unregistered_version_raises_error(mlflow_url: str) -> None:
    with pytest.raises(StepError, match="model unknown version '7' cannot be read from"):
        model_registry.fetch(mlflow_url, "unknown", "7")


def test_registered_model_loads_with_mlflow(tmp_path: Path, mlflow_url: str) -> None:
    import mlflow.pyfunc

    model_registry.register(mlflow_url, train_iris(tmp_path, name="open"), "open", METRICS, "some-pipeline", "open")
    mlflow.set_tracking_uri(mlflow_url)
    names = ["petal_width", "petal_length", "sepal_width", "sepal_length"]
    answers = mlflow.pyfunc.load_model("models:/open@champion").predict(
        pd.DataFrame([[0.2, 1.4, 3.5, 5.1]], columns=names)
    )
    assert answers["label"].tolist() == [0]
    assert answers["class"].tolist() == ["setosa"]
    assert answers["probability_setosa"].tolist() == [1.0]


def test_record_failed_run_is_found_by_its_key(mlflow_url: str) -> None:
    step: dict[str, Any] = {"name": "train", "artifacts": []}
    result = SimpleNamespace(succeeded=False, outputs={}, steps=[step], failed_step="train", error="trees: 0")
    run_id = tracking.record(mlflow_url, "failing", "key", {"trees": 0, "blob": ""}, result, {})
    mlflow = tracking.client(mlflow_url)
    recorded = tracking.find_or_create_run(mlflow, "failing", "key")
    assert (recorded.info.run_id, recorded.info.status) == (run_id, "FAILED")
    assert (recorded.data.tags["failed_step"], recorded.data.tags["error"]) == ("train", "trees: 0")
    assert tracking.find_or_create_run(mlflow, "failing", "").info.run_id != run_id


def test_record_metric_named_after_a_column_has_a_name_that_mlflow_accepts(mlflow_url: str) -> None:
    names = ["psi_price (EUR)", "psi_price [EUR]", "psi_好瓜", "psi_a=1,%", "psi_km/h", "/psi", "psi_a/../b"]
    result = SimpleNamespace(succeeded=True, outputs=dict(zip(names, range(7), strict=True)), steps=[])
    run_id = tracking.record(mlflow_url, "named", "key", {}, result, {})
    assert tracking.client(mlflow_url).get_run(run_id).data.metrics == {
        "psi_price _EUR_": 0,
        "psi_price _EUR__2": 1,
        "psi_好瓜": 2,
        "psi_a_1__": 3,
        "psi_km/h": 4,
        "_psi": 5,
        "psi_a____b": 6,
    }


def test_record_metric_with_two_values_is_named_by_step(mlflow_url: str) -> None:
    def step(name: str, **metrics: float) -> dict[str, Any]:
        return {"name": name, "artifacts": [{"name": "m", "type": "system.Metrics", "uri": "", "metadata": metrics}]}

    steps = [step("tree", accuracy=0.9, depth=6), step("line", accuracy=0.8)]
    result = SimpleNamespace(succeeded=True, outputs={"best": 0.9, "deployed": True}, steps=steps)
    run_id = tracking.record(mlflow_url, "two-steps", "key", {}, result, {})
    recorded = tracking.client(mlflow_url).get_run(run_id)
    assert recorded.data.metrics == {"tree.accuracy": 0.9, "line.accuracy": 0.8, "depth": 6, "best": 0.9}
    assert recorded.data.tags["deployed"] == "True"


def test_find_or_create_run_in_deleted_experiment_restores_it(mlflow_url: str) -> None:
    mlflow = tracking.client(mlflow_url)
    before = tracking.find_or_create_run(mlflow, "deleted", "key")
    mlflow.delete_experiment(before.info.experiment_id)
    assert tracking.find_or_create_run(mlflow, "deleted", "key").info.experiment_id == before.info.experiment_id


@pytest.fixture
def small(tmp_path: Path) -> model_directory.ModelDirectory:
    return load_model_directory(train_iris(tmp_path))


@pytest.mark.parametrize(("column", "target"), [("Species", ""), ("Guess", "guess")])
def test_batch_scoring_finds_features_by_name_and_copies_other_columns(
    small: model_directory.ModelDirectory, column: str, target: str
) -> None:
    content = f"id,Petal.Width,Petal.Length,Sepal Width,SepalLength,{column}\nx7,0.2,1.4,3.5,5.1,?\n"
    answers, rows = score_csv(content.encode(), small, target)
    header, line = answers.decode().splitlines()
    assert rows == 1
    assert header == "id,Petal.Width,Petal.Length,Sepal Width,SepalLength,class,probability"
    assert line == "x7,0.2,1.4,3.5,5.1,setosa,1.0"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("sepal_length,sepal_width,petal_length\n1,2,3\n", "no column petal_width; the columns are: sepal_length"),
        ("sepal_length,sepal_width,petal_length,petal_width\n1,2,3,\n", "column petal_width, row 1: empty"),
        ("sepal_length,sepal_width,petal_length,petal_width,class\n1,2,3,4,5\n", "a column class already"),
    ],
)
def test_batch_scoring_of_invalid_data_raises_error(
    small: model_directory.ModelDirectory, content: str, message: str
) -> None:
    with pytest.raises(StepError) as refused:
        score_csv(content.encode(), small, "")
    assert message in str(refused.value)


def test_batch_scoring_probability_is_that_of_the_predicted_class(small: model_directory.ModelDirectory) -> None:
    contrary = replace(small, onnx=constant_model([0.25, 0.5, 0.25]))
    content = b"sepal_length,sepal_width,petal_length,petal_width\n5.1,3.5,1.4,0.2\n"
    answers, _ = score_csv(content, contrary, "")
    assert answers.decode().splitlines()[1] == "5.1,3.5,1.4,0.2,setosa,0.25"


def test_unwrap_kfp_returns_metadata_as_written() -> None:
    written = {"classes": ["a", "b"], "importance": {"x": 0.5}, "rows": 150.0, "source": "list"}
    wrapped = written | {"classes": {"list": ["a", "b"]}, "importance": {"struct": {"x": 0.5}}}
    wrapped |= {"display_name": "train", "store_session_info": "{}"}
    assert unwrap_kfp(wrapped) == unwrap_kfp(written) == written
    assert unwrap_kfp({"importance": {"list": 0.5}}) == {"importance": {"list": 0.5}}
