"""Training: estimators by name, on columns of every type, classes and numbers, exported exactly or refused."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from kfp import dsl
from lightgbm import LGBMClassifier
from sklearn.tree import DecisionTreeClassifier

from tests.pipelines.conftest import run
from tests.pipelines.flats import COLUMNS, flats_csv
from tests.pipelines.scored import score_csv
from workloads.components import load_component
from workloads.ml.data import table
from workloads.ml.data.scan import table_scan
from workloads.ml.data.table import load_description, load_table
from workloads.ml.data.target import Task
from workloads.ml.errors import StepError
from workloads.ml.model.forest import train_forest
from workloads.ml.model.mlflow_model import save_mlflow_model
from workloads.ml.model.model_directory import ModelDirectory, load_model_directory, require_servable
from workloads.ml.model.regressor import export_regressor
from workloads.ml.training.estimators import build_estimator
from workloads.ml.training.named_estimator import train_estimator

TASKS: dict[str, dict[str, Any]] = {
    "classification": {"target": "fast", "columns": {**COLUMNS, "price": "ignore"}},
    "regression": {"target": "price", "columns": {**COLUMNS, "fast": "ignore", "price": {"unit": "EUR"}}},
    "two targets": {"target": ["price", "rooms"], "columns": {**COLUMNS, "fast": "ignore"}},
}


def read(kind: str) -> table.Table:
    task = "classification" if kind == "classification" else "regression"
    return table_scan.parse(flats_csv(), task=task, **TASKS[kind])


def save(folder: Path, parsed: table.Table) -> str:
    """Write all rows as one part. Returns its path."""
    file = str(folder / "all.parquet")
    table.save_table(file, parsed, np.ones(len(parsed.labels), dtype=bool))
    return file


def train(folder: Path, kind: str, estimator: str = "", **parameters: Any) -> ModelDirectory:
    """Train on all rows; return the model directory, which the check of its outputs accepts."""
    part = save(folder, read(kind))
    if estimator:
        train_estimator(part, folder / "model", "flats", estimator, parameters, 0)
    else:
        train_forest(part, folder / "model", "flats", 10, 0)
    model = load_model_directory(folder / "model")
    require_servable(model)
    return model


@pytest.mark.parametrize(
    ("estimator", "parameters", "twin"),
    [
        ("DecisionTreeClassifier", {"max_depth": 2}, DecisionTreeClassifier(max_depth=2, random_state=0)),
        ("LGBMClassifier", {"n_estimators": 5}, LGBMClassifier(n_estimators=5, random_state=0, verbose=-1)),
    ],
)
def test_train_estimator_class_weight_is_by_names_of_classes(
    tmp_path: Path, estimator: str, parameters: dict[str, Any], twin: Any
) -> None:
    model = train(tmp_path, "classification", estimator, class_weight={"yes": 20, "no": 1}, **parameters)
    rows, labels = load_table(str(tmp_path / "all.parquet"))
    expected = twin.set_params(class_weight={model.signature["classes"].index("yes"): 20}).fit(rows, labels)
    np.testing.assert_allclose(model.predict(rows)[1], expected.predict_proba(rows), atol=1e-5)


def test_train_estimator_class_weight_of_an_estimator_in_another(tmp_path: Path) -> None:
    inner = {"name": "DecisionTreeClassifier", "parameters": {"max_depth": 2, "class_weight": {"yes": 20}}}
    part = save(tmp_path, read("classification"))
    train_estimator(part, tmp_path / "model", "flats", "BaggingClassifier", {"estimator": inner, "n_estimators": 3}, 0)
    rows, labels = load_table(part)
    predicted, _ = load_model_directory(tmp_path / "model").predict(rows)
    assert predicted.sum() > labels.sum()


def test_train_estimator_class_weight_of_an_unknown_class_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StepError, match="there is no class 'fast'; the classes are: no, yes"):
        train(tmp_path, "classification", "LogisticRegression", class_weight={"fast": 20})


def test_train_forest_on_typed_columns_writes_signature_of_format_2(tmp_path: Path) -> None:
    signature: dict[str, Any] = dict(train(tmp_path, "regression").signature)
    assert (signature["format"], signature["task"], signature["classes"]) == (2, "regression", [])
    assert (signature["target"], signature["unit"], "targets" in signature) == ("price", "EUR", False)
    city = {feature["name"]: feature for feature in signature["features"]}["city"]
    assert (city["type"], city["missing"], city["categories"]) == ("category", True, ["Bonn", "Köln", "Ulm"])
    assert (city["minimum"], city["maximum"]) == (0, 2)
    assert np.isfinite(city["mean"])
    assert sum(json.loads((tmp_path / "model" / "importance.json").read_text()).values()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("kind", "estimator"),
    [
        ("classification", ""),
        ("regression", ""),
        ("two targets", ""),
        ("classification", "LogisticRegression"),
        ("classification", "GradientBoostingClassifier"),
        ("classification", "XGBClassifier"),
        ("classification", "LGBMClassifier"),
        ("regression", "sklearn.svm.SVR"),
        ("regression", "ExtraTreesRegressor"),
        ("regression", "XGBRegressor"),
        ("two targets", "LinearRegression"),
    ],
)
def test_trained_model_scores_a_file_as_its_encoded_rows(tmp_path: Path, kind: str, estimator: str) -> None:
    model = train(tmp_path, kind, estimator)
    scored, count = score_csv(flats_csv(), model, "")
    lines = list(csv.DictReader(io.StringIO(scored.decode())))
    parsed = read(kind)
    assert count == len(lines) == len(parsed.rows)
    if kind == "classification":
        labels = model.predict(parsed.rows)[0]
        assert [line["class"] for line in lines] == [parsed.classes[label] for label in labels]
        assert (labels == parsed.labels).mean() > 0.8
    else:
        values = np.array(
            [[float(line[f"predicted_{name}"]) for name in parsed.description["targets"]] for line in lines]
        )
        assert values == pytest.approx(model.predict_values(parsed.rows), rel=1e-6)
        assert np.corrcoef(values[:, 0], parsed.labels.reshape(len(values), -1)[:, 0])[0, 1] > 0.6


@pytest.mark.parametrize("kind", ["classification", "two targets"])
def test_mlflow_model_encodes_columns_as_batch_scoring(tmp_path: Path, kind: str) -> None:
    import mlflow.pyfunc

    model = train(tmp_path, kind)
    save_mlflow_model(model, tmp_path / "mlflow")
    frame = pd.read_csv(io.BytesIO(flats_csv()), dtype={"zip": str, "garden": str}, keep_default_na=False)
    frame = frame.assign(
        size=pd.to_numeric(frame["size"]), garden=frame["garden"].map({"true": 1.0, "false": 0.0}).astype(float)
    ).astype({"city": object, "since": object, "zip": object})
    served = mlflow.pyfunc.load_model(str(tmp_path / "mlflow"))
    answers = served.predict(frame)
    parsed = read(kind)
    if kind == "classification":
        assert list(answers) == ["label", "class", "probability_no", "probability_yes"]
        assert (answers["label"] == model.predict(parsed.rows)[0]).all()
    else:
        assert list(answers) == ["predicted_price", "predicted_rooms"]
        assert (answers.to_numpy() == model.predict_values(parsed.rows)).all()
    for column, cell in {"zip": "99999", "since": "2020-01-01T10:00"}.items():
        wrong = frame.head(1).assign(**{column: pd.Series([cell], dtype=object)})
        with pytest.raises(Exception, match="indices element out of data bounds"):
            served.predict(wrong)


def test_batch_scoring_of_unlisted_category_is_refused_unless_unknown_is_set(tmp_path: Path) -> None:
    content = flats_csv().replace(b",Ulm,", b",Rom,", 1)
    assert "city" in flats_csv().decode()
    with pytest.raises(StepError, match=r"column city, row \d+: 'Rom' is not one of the categories Bonn, Köln, Ulm"):
        score_csv(content, train(tmp_path, "classification"), "")
    model = load_model_directory(tmp_path / "model")
    next(feature for feature in model.signature["features"] if feature["name"] == "city")["unknown"] = True
    assert score_csv(content, model, "")[1] == 120


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        (
            "RandomForestClasifier",
            {},
            "there is no 'RandomForestClasifier' in sklearn, xgboost, lightgbm; similar",
        ),
        ("os.path", {}, "only estimators of sklearn, xgboost, lightgbm are found by their path"),
        ("sklearn.svm.SVX", {}, "sklearn.svm.SVX cannot be imported"),
        ("sklearn.svm.l1_min_c", {}, "sklearn.svm.l1_min_c is not an estimator"),
        ("SVC", {"c": 1}, "parameters: SVC has no c; it has: C, break_ties, cache_size"),
        ("XGBClassifier", {"tree": 1}, "parameters: XGBClassifier has no tree; it has: base_score, booster"),
        ("Ridge", {}, "estimator: Ridge is not a classifier, and the task is classification"),
        ("VotingClassifier", {}, "estimator: VotingClassifier cannot be created: "),
        ("BaggingClassifier", {"estimator": {"nam": "SVC"}}, "it must be a name, or a mapping of name and parameters"),
        (
            "RandomForestClassifier",
            {"max_features": 1},
            "parameters.max_features: 1 may be a count or the share",
        ),
    ],
)
def test_build_estimator_with_invalid_name_or_parameter_raises_error(
    name: str, parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises(StepError) as refused:
        build_estimator(name, parameters, Task.CLASSIFICATION, 0)
    assert message in str(refused.value)


def test_build_estimator_sets_seed_and_nested_estimators() -> None:
    forest = build_estimator(
        "RandomForestClassifier", {"n_estimators": 5.0, "max_features": "1.0"}, Task.CLASSIFICATION, 7
    )
    assert (forest.n_estimators, forest.max_features, forest.random_state) == (5, 1.0, 7)
    nested = {"estimator": {"name": "SVC", "parameters": {"C": 2}}}
    calibrated = build_estimator("CalibratedClassifierCV", nested, Task.CLASSIFICATION, 7)
    assert (type(calibrated.estimator).__name__, calibrated.estimator.C) == ("SVC", 2)


def test_train_estimator_with_invalid_value_raises_error_of_the_library(tmp_path: Path) -> None:
    with pytest.raises(StepError, match=r"LogisticRegression cannot be trained: The 'C' parameter of"):
        train(tmp_path, "classification", "LogisticRegression", C=-1)


def test_export_regressor_that_predicts_otherwise_raises_error_with_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sklearn.linear_model import Ridge

    from workloads.ml.model import regressor

    rows = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)
    trained, other = Ridge().fit(rows, rows[:, 0]), Ridge().fit(rows, rows[:, 0] * 1.001)
    onnx = regressor.regressor_to_onnx(other, 1)
    monkeypatch.setattr(regressor, "regressor_to_onnx", lambda *_, **__: onnx)
    with pytest.raises(StepError, match=r"Ridge cannot be exported: .* the trained one .* 9\..*e-05 of difference"):
        export_regressor(trained, rows, [float(rows[:, 0].std())])


@dsl.pipeline(name="flats")
def flats(data_url: str, columns: dict, parameters: dict) -> None:
    preprocess_data, train_model = load_component("preprocess_data"), load_component("train_model")
    data = preprocess_data(
        data_url=data_url, target="price", further_targets=["rooms"], columns=columns, task="regression"
    ).outputs
    train_model(train=data["train"], model_name="flats", estimator="Ridge", parameters=parameters)


def test_pipeline_trains_regression_of_two_targets(tmp_path: Path) -> None:
    (tmp_path / "flats.csv").write_bytes(flats_csv())
    columns = TASKS["two targets"]["columns"]
    ended = run(tmp_path / "run", flats, data_url=str(tmp_path / "flats.csv"), columns=columns, parameters={"alpha": 2})
    assert ended.result["state"] == "SUCCEEDED", ended.log
    assert "column zip: 4 categories, as columns says: 00100, 00200, 00300, 00400" in ended.log
    folder = Path(ended.artifact("train-model", "model")["uri"].removeprefix("file://"))
    model = load_model_directory(folder)
    assert model.signature["targets"] == ["price", "rooms"]
    train_part = ended.artifact("preprocess-data", "train")["uri"].removeprefix("file://")
    assert load_description(train_part)["columns"][1]["categories"] == ["Bonn", "Köln", "Ulm"]
    rows, values = load_table(train_part)
    assert (rows.shape, values.shape) == ((96, 5), (96, 2))
    report = Path(ended.artifact("preprocess-data", "report")["uri"].removeprefix("file://"))
    assert "<h1>Data</h1>" in report.read_text()
