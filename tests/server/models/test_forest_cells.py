"""Single rows by the cells of a forest, which predict exactly what ONNX Runtime predicts."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier

from model_server.model.forest_cells import ForestCells
from model_server.model.voting_forest import Branch, VotingForest, load_forest
from tests.server.models.test_quickscorer import as_tuples, session_predicts
from workloads.ml.model.onnx_export import forest_to_onnx


@pytest.mark.parametrize(("trees", "features"), [(1, 4), (2, 4), (100, 4), (256, 2)])
def test_predict_row_all_rows_equal_onnx_runtime_exactly(trees: int, features: int) -> None:
    rows, labels = load_iris(return_X_y=True)
    if features == 2:  # no two of these rows are equal, so each leaf votes for one class
        rows = np.random.default_rng(0).random((60, features))
        labels = rows.argmax(axis=1) + (rows.sum(axis=1) > 1)
    content = forest_to_onnx(RandomForestClassifier(trees, random_state=0).fit(rows, labels))
    found = load_forest(content, features, 3)
    assert found
    assert found.has_few_cells
    probes = np.concatenate([found.probes(5000), rows.astype(np.float32)])
    cells = ForestCells(found)
    assert [cells.predict_row(row) for row in probes.tolist()] == as_tuples(session_predicts(content, probes))


def test_predict_row_missing_value_is_above_all_thresholds() -> None:
    cells = ForestCells(VotingForest([[1.0], [], [2.0]], [Branch(0, 1.0, 0, Branch(2, 2.0, 0, 1))], classes=2))
    assert cells.predict_row([math.inf, math.inf, 2.0]) == (0, (1.0, 0.0))
    assert cells.predict_row([math.inf, 0.0, math.inf]) == (1, (0.0, 1.0))
