"""Comparison of scikit-learn classifiers on one split of Iris."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from workloads.ml.data.table import split

if TYPE_CHECKING:
    from sklearn.base import ClassifierMixin


def save_iris(path: str, seed: int) -> int:
    """Write scikit-learn's Iris, split 80/20 within each class, as one JSON file. Returns its number of rows."""
    from sklearn.datasets import load_iris

    rows, labels = load_iris(return_X_y=True)
    train, test = split(labels, seed)
    parts = {"x_train": rows[train], "y_train": labels[train], "x_test": rows[test], "y_test": labels[test]}
    Path(path).write_text(json.dumps({name: part.tolist() for name, part in parts.items()}))
    return len(labels)


def held_out_accuracy(path: str, classifier: ClassifierMixin) -> float:
    """Return the accuracy on the test part, in [0, 1], after fitting on the training part."""
    parts = json.loads(Path(path).read_text())
    return float(classifier.fit(parts["x_train"], parts["y_train"]).score(parts["x_test"], parts["y_test"]))
