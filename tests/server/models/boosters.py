"""Small models of LightGBM and XGBoost, with the contributions that these libraries compute."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Contributions = Callable[[NDArray[np.float32]], NDArray[np.float64]]
"""Returns the contributions [outputs, features and base] to the answer to a row."""


def trained(library: str, task: str, rows: NDArray[np.float32], targets: Any) -> tuple[Any, Contributions]:
    """Return a model of one of the libraries, and its own contributions."""
    if library == "lightgbm":
        from lightgbm import LGBMClassifier, LGBMRegressor

        kind: Any = LGBMClassifier if task == "classification" else LGBMRegressor
        booster = kind(n_estimators=6, num_leaves=6, min_child_samples=5, n_jobs=1, verbose=-1).fit(rows, targets)

        def of_lightgbm(row: NDArray[np.float32]) -> NDArray[np.float64]:
            return np.asarray(booster.predict([row], pred_contrib=True)).reshape(-1, len(row) + 1)

        return booster, of_lightgbm
    from xgboost import DMatrix, XGBClassifier, XGBRegressor

    chosen: Any = XGBClassifier if task == "classification" else XGBRegressor
    other = chosen(n_estimators=6, max_depth=3, n_jobs=1).fit(rows, targets)

    def of_xgboost(row: NDArray[np.float32]) -> NDArray[np.float64]:
        found = other.get_booster().predict(DMatrix(row.reshape(1, -1)), pred_contribs=True)
        return np.asarray(found).reshape(-1, len(row) + 1)

    return other, of_xgboost


def lightgbm_values(booster: Any) -> list[Callable[[frozenset[int], NDArray[np.float32]], NDArray[np.float64]]]:
    """Return for each tree its expected value of a row of which only some features are known, by recursion."""

    def rows(node: Any) -> int:
        return int(node.get("internal_count", node.get("leaf_count")))

    def expected(node: Any, known: frozenset[int], row: NDArray[np.float32]) -> Any:
        if "left_child" not in node:
            return np.array([node["leaf_value"]])
        left, right = node["left_child"], node["right_child"]
        if node["split_feature"] in known:
            return expected(left if row[node["split_feature"]] <= node["threshold"] else right, known, row)
        both = rows(left) * expected(left, known, row) + rows(right) * expected(right, known, row)
        return both / rows(node)

    trees = [each["tree_structure"] for each in booster.booster_.dump_model()["tree_info"]]
    return [lambda known, row, tree=tree: expected(tree, known, row) for tree in trees]  # type: ignore[misc]
