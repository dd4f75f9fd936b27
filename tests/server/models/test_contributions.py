"""Contributions of features: against Shapley values of all subsets, and against coefficients."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from model_server.model import model, tree_contributions
from model_server.model.contributions import Contributions, NoContributions
from model_server.model.model import Model
from model_server.model.model_package import ModelSignature, read_package
from tests.server.models import boosters
from tests.server.running import Server
from tests.server.typed_models import HOME
from workloads.ml.model.onnx_export import classifier_to_onnx, detector_to_onnx, forest_to_onnx, regressor_to_onnx

FEATURES = 4
RANDOM = np.random.default_rng(5)
ROWS: NDArray[np.float32] = RANDOM.normal(size=(120, FEATURES)).astype(np.float32)
TARGETS = np.stack([ROWS[:, 0] + ROWS[:, 1] * ROWS[:, 2], ROWS[:, 3]], axis=1)
THREE = np.digitize(TARGETS[:, 0], [-0.5, 0.5])
Values = Callable[[frozenset[int], NDArray[np.float32]], NDArray[np.float64]]
"""Returns the values [outputs] of a row of which only these features are known."""


def contributions(onnx: bytes, names: list[str], task: str) -> Contributions:
    features = [
        {"name": str(number), "minimum": c.min(), "maximum": c.max(), "mean": c.mean(), "type": "number"}
        for number, c in enumerate(ROWS.T)
    ]
    about = {"classes": names} if task != "regression" else {"targets": names}
    signature = {"format": 2, "model": "m", "task": task, "target": names[0], "features": features, "sha256": ""}
    session = onnxruntime.InferenceSession(onnx)
    output = "value" if task == "regression" else "probabilities"
    return Contributions(
        onnx,
        ModelSignature.model_validate(signature | about),
        lambda rows: session.run([output], {"features": rows})[0],
    )


def tree_values(tree: Any) -> Values:
    """Return the expected values of one of scikit-learn's trees by recursion, as the paper of TreeSHAP has it."""

    def expected(known: frozenset[int], row: NDArray[np.float32], node: int = 0) -> Any:
        left, right, feature = tree.children_left[node], tree.children_right[node], tree.feature[node]
        if left < 0:
            return tree.value[node].ravel()
        if feature in known:
            return expected(known, row, left if row[feature] <= tree.threshold[node] else right)
        rows = tree.weighted_n_node_samples
        both = rows[left] * expected(known, row, left) + rows[right] * expected(known, row, right)
        return both / rows[node]

    return expected


def shapley(values: Values, row: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the Shapley values [outputs, features] by their definition, over all subsets."""
    found = []
    for feature in range(FEATURES):
        others = [other for other in range(FEATURES) if other != feature]
        subsets = [frozenset(s) for size in range(FEATURES) for s in combinations(others, size)]
        weights = [math.factorial(len(s)) * math.factorial(FEATURES - 1 - len(s)) for s in subsets]
        changes = [values(s | {feature}, row) - values(s, row) for s in subsets]
        found.append(sum(w * c for w, c in zip(weights, changes, strict=True)) / math.factorial(FEATURES))
    return np.array(found).T


def matrix(explained: Any) -> NDArray[np.float64]:
    return np.array([list(each["features"].values()) for each in explained["of"].values()])


def sums(explained: Any) -> list[float]:
    return [each["base"] + sum(each["features"].values()) for each in explained["of"].values()]


@pytest.mark.parametrize(
    ("forest", "export", "names", "task"),
    [
        (RandomForestClassifier(5, max_depth=5, random_state=0), forest_to_onnx, ["a", "b", "c"], "classification"),
        (RandomForestClassifier(5, max_depth=5, random_state=0), forest_to_onnx, ["a", "b"], "classification"),
        (RandomForestRegressor(5, max_depth=5, random_state=0), regressor_to_onnx, ["t", "u"], "regression"),
    ],
)
def test_contributions_of_a_forest_are_shapley_values_of_all_subsets(
    forest: Any, export: Any, names: list[str], task: str
) -> None:
    forest.fit(ROWS, TARGETS if task == "regression" else np.minimum(THREE, len(names) - 1))
    explained = contributions(export(forest, *([2] if task == "regression" else [])), names, task)
    trees = [tree_values(each.tree_) for each in forest.estimators_]
    for row in ROWS[:2]:
        found = explained.explain(row)
        expected = np.mean([shapley(values, row) for values in trees], axis=0)
        assert matrix(found) == pytest.approx(expected, abs=1e-6)
        answers = forest.predict_proba([row])[0] if task == "classification" else forest.predict([row])[0]
        assert sums(found) == pytest.approx(answers.tolist(), abs=1e-6)
        assert found["scale"] == ("probability" if task == "classification" else "value")


def test_contributions_of_boosted_trees_add_up_to_the_margin() -> None:
    boosted = GradientBoostingClassifier(n_estimators=5, max_depth=3, random_state=0).fit(ROWS, THREE > 1)
    explained = contributions(classifier_to_onnx(boosted), ["no", "yes"], "classification").explain(ROWS[0])
    rate = boosted.learning_rate
    trees = [shapley(tree_values(each.tree_), ROWS[0])[0] * rate for each in boosted.estimators_.ravel()]
    assert matrix(explained)[1] == pytest.approx(np.sum(trees, axis=0), abs=1e-6)
    margin = float(boosted.decision_function(ROWS[:1])[0])
    assert sums(explained) == pytest.approx([-margin, margin], abs=1e-6)
    assert explained["scale"] == "margin"


@pytest.mark.parametrize(
    ("library", "task", "names"),
    [
        *(("lightgbm", "classification", names) for names in (["no", "yes"], ["a", "b", "c"])),
        ("lightgbm", "regression", ["t"]),
        *(("xgboost", "classification", names) for names in (["no", "yes"], ["a", "b", "c"])),
        ("xgboost", "regression", ["t"]),
    ],
)
def test_contributions_of_a_booster_are_those_of_its_library(library: str, task: str, names: list[str]) -> None:
    booster, contributions_of = boosters.trained(library, task, ROWS, THREE if len(names) > 2 else THREE > 1)
    onnx = classifier_to_onnx(booster) if task == "classification" else regressor_to_onnx(booster, 1)
    explained = contributions(onnx, names, task)
    for row in ROWS[:5]:
        found = explained.explain(row)
        expected = contributions_of(row)  # [outputs, features and base]
        last = matrix(found)[-len(expected) :]
        assert last == pytest.approx(expected[:, :-1], abs=1e-5)
        bases = [each["base"] for each in found["of"].values()]
        assert bases[-len(expected) :] == pytest.approx(expected[:, -1].tolist(), abs=1e-5)
        assert found["scale"] == ("margin" if task == "classification" else "value")


def test_contributions_of_lightgbm_are_shapley_values_of_all_subsets() -> None:
    booster, _ = boosters.trained("lightgbm", "regression", ROWS, TARGETS[:, 0])
    explained = contributions(regressor_to_onnx(booster, 1), ["t"], "regression").explain(ROWS[3])
    values = boosters.lightgbm_values(booster)
    assert matrix(explained) == pytest.approx(np.sum([shapley(tree, ROWS[3]) for tree in values], axis=0), abs=1e-5)


def test_contributions_of_missing_values_add_up_to_the_answer() -> None:
    rows = ROWS.copy()
    rows[::3, 0] = rows[1::4, 2] = np.nan
    boosted = HistGradientBoostingRegressor(max_iter=5, random_state=0).fit(rows, np.nan_to_num(rows[:, 0], nan=3))
    explained = contributions(regressor_to_onnx(boosted, 1, missing=True), ["t"], "regression")
    for row, answer in zip(rows[:9], boosted.predict(rows[:9]), strict=True):
        assert sums(explained.explain(row)) == pytest.approx([answer], abs=1e-5)


def test_contributions_of_a_linear_model_are_coefficients_times_distances() -> None:
    linear = Ridge().fit(ROWS, TARGETS)
    explained = contributions(regressor_to_onnx(linear, 2), ["t", "u"], "regression").explain(ROWS[7])
    assert matrix(explained) == pytest.approx(linear.coef_ * (ROWS[7] - ROWS.mean(axis=0)), abs=1e-5)
    assert sums(explained) == pytest.approx(linear.predict(ROWS[7:8])[0].tolist(), abs=1e-5)


def test_contributions_of_a_scaled_logistic_regression_add_up_to_the_margin() -> None:
    pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(ROWS, THREE)
    explained = contributions(classifier_to_onnx(pipeline), ["a", "b", "c"], "classification").explain(ROWS[7])
    assert explained["scale"] == "margin"
    assert sums(explained) == pytest.approx(pipeline.decision_function(ROWS[7:8])[0].tolist(), abs=1e-5)


def test_contributions_of_other_models_are_refused_with_their_kind() -> None:
    neighbours = classifier_to_onnx(KNeighborsClassifier().fit(ROWS, THREE))
    with pytest.raises(NoContributions, match=r"for trees and linear models; the model is made of .*TopK"):
        contributions(neighbours, ["a", "b", "c"], "classification")
    anomalies = detector_to_onnx(IsolationForest(n_estimators=5, random_state=0).fit(ROWS))
    with pytest.raises(NoContributions, match="the model detects anomalies"):
        contributions(anomalies, ["no", "yes"], "anomaly")


def test_contributions_of_a_linear_model_behind_further_columns_are_refused_with_the_steps() -> None:
    columns = ColumnTransformer([("number", StandardScaler(), [0]), ("code", OneHotEncoder(), [1])])
    rows = np.column_stack([ROWS[:, 0], ROWS[:, 1] > 0]).astype(np.float32)
    onnx = classifier_to_onnx(make_pipeline(columns, LogisticRegression()).fit(rows, THREE))
    message = "behind scaling and imputation alone; before its LinearClassifier, the model has .*OneHotEncoder"
    with pytest.raises(NoContributions, match=message):
        contributions(onnx, ["a", "b", "c"], "classification")


def test_contributions_of_trees_without_training_rows_are_refused() -> None:
    tree = DecisionTreeClassifier(max_depth=3).fit(ROWS, THREE)
    inputs = [("features", FloatTensorType([None, FEATURES]))]
    onnx = to_onnx(tree, initial_types=inputs, options={"zipmap": False}).SerializeToString()
    with pytest.raises(NoContributions, match="lack the numbers of training rows"):
        contributions(onnx, ["a", "b", "c"], "classification")


def test_contributions_of_trees_with_too_many_leaves_are_refused_before_their_paths_are_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    forest = RandomForestRegressor(5, max_depth=3, random_state=0).fit(ROWS, TARGETS[:, 0])
    onnx, leaves = regressor_to_onnx(forest, 1), sum(each.get_n_leaves() for each in forest.estimators_)
    monkeypatch.setattr(tree_contributions, "MOST_CELLS", leaves * 3)
    explained = contributions(onnx, ["t"], "regression").explain(ROWS[0])
    assert sums(explained) == pytest.approx(forest.predict(ROWS[:1]).tolist(), abs=1e-5)
    monkeypatch.setattr(tree_contributions, "MOST_CELLS", leaves * 3 - 1)
    monkeypatch.setattr(tree_contributions, "_paths", lambda attributes: pytest.fail("the paths are read"))
    with pytest.raises(NoContributions, match=f"too many leaves, {leaves} with up to 3 features each"):
        contributions(onnx, ["t"], "regression")


def test_contributions_that_several_threads_use_are_read_once(
    folder: Path, prices: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []

    def slowly(*arguments: Any) -> str:
        read.append(arguments)
        time.sleep(0.1)
        return "contributions"

    served = Model(None, read_package(folder / "prices", None, {}))
    monkeypatch.setattr(model, "Contributions", slowly)
    with ThreadPoolExecutor(4) as pool:
        found = [pool.submit(lambda: served.contributions) for _ in range(4)]
    assert [each.result() for each in found] == ["contributions"] * 4
    assert len(read) == 1


def test_score_with_contributions_adds_them_for_each_target_and_row(prices: Server) -> None:
    plain = prices.score(HOME).json()
    answer = prices.post_json("/score?contributions=yes", HOME)
    explained = answer.pop("contributions")
    assert answer == plain
    assert explained["scale"] == "value"
    assert list(explained["of"]["price"]["features"]) == list(HOME)
    assert sums(explained) == pytest.approx([plain["price"], plain["rent"]], rel=1e-5)
    rows = prices.post_json("/score?contributions=yes", [HOME, HOME | {"area": None}])
    assert rows["contributions"][0] == explained
    assert rows["contributions"][1]["of"]["price"]["features"]["area"] == pytest.approx(0, abs=0.5)
    assert prices.post_json("/score?contributions=no", HOME) == plain


def test_score_with_contributions_it_cannot_give_says_why(server: Server, prices: Server) -> None:
    refused = server.post_json("/score?contributions=yes", {"petal_length": 1.4})
    assert refused["code"] == "missing_field"
    flower = {"petal_length": 1.4, "petal_width": 0.2, "sepal_length": 5.1, "sepal_width": 3.5}
    refused = server.post_json("/score?contributions=yes", flower)
    assert refused["code"] == "no_contributions"
    assert "lack the numbers of training rows" in refused["error"]
    wrong = prices.post_json("/score?contributions=maybe", HOME)
    assert wrong["error"] == "contributions must be yes or no; it is 'maybe'"


def home_inputs(server: Server) -> list[dict[str, Any]]:
    """Return the tensors of a home whose area is known, and of one whose area is not."""
    tensors = [each | {"shape": [2]} for each in server.get("/v2/models/prices").json()["inputs"]]
    values = {name: [value, None if name == "area" else value] for name, value in HOME.items()}
    return [each | {"data": values[each["name"]]} for each in tensors]


def test_infer_with_contributions_adds_an_output_of_the_numbers_of_score(prices: Server) -> None:
    rows = [HOME, HOME | {"area": None}]
    expected = prices.post_json("/score?contributions=yes", rows)["contributions"]
    answer = prices.post_json(
        "/v2/models/prices/infer", {"inputs": home_inputs(prices), "parameters": {"contributions": True}}
    )
    assert answer["parameters"] == {"contributions_scale": "value"}
    value, found = answer["outputs"]
    assert (found["name"], found["datatype"]) == ("contributions", "FP64")
    outputs, numbers = value["shape"][1], len(HOME) + 1
    assert found["shape"] == [2, outputs, numbers]
    of = [each for row in expected for each in row["of"].values()]
    assert found["data"] == [number for each in of for number in (*each["features"].values(), each["base"])]


def test_infer_without_contributions_answers_as_before(prices: Server) -> None:
    inputs = home_inputs(prices)
    plain = prices.post_json("/v2/models/prices/infer", {"inputs": inputs})
    refused = prices.post_json("/v2/models/prices/infer", {"inputs": inputs, "parameters": {"contributions": False}})
    assert plain == refused
    assert [each["name"] for each in plain["outputs"]] == ["value"]


def test_infer_with_contributions_it_cannot_give_says_why(server: Server, prices: Server) -> None:
    flower = [{"name": "features", "datatype": "FP32", "shape": [1, 4], "data": [5.1, 3.5, 1.4, 0.2]}]
    refused = server.post_json("/v2/models/iris/infer", {"inputs": flower, "parameters": {"contributions": True}})
    assert refused["code"] == "no_contributions"
    wrong = {"inputs": home_inputs(prices), "parameters": {"contributions": "yes"}}
    answer = prices.post_json("/v2/models/prices/infer", wrong)
    assert answer["error"] == "parameters.contributions: expected true or false, got the text 'yes'"
