"""Training on a part that is larger than memory: in chunks, by XGBoost's external memory or by `partial_fit`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from workloads.ml.data.encoding import Rows
from workloads.ml.data.scan.parts import SAMPLE_ROWS, sample_mask
from workloads.ml.data.table import TableDescription, count_groups, count_rows, read_group, read_groups
from workloads.ml.data.target import Labels, Task, Values
from workloads.ml.errors import StepError
from workloads.ml.training.estimators import first_line
from workloads.ml.training.preparation import prepare

PASSES = 5
"""Passes of an iterative estimator over all rows, unless its max_iter is smaller."""
MIXED_GROUPS = 8
"""Row groups that are mixed before an estimator learns from them: the rows may be sorted."""


def learns_in_chunks(estimator: Any) -> bool:
    """Return True if an estimator can learn without all rows in memory."""
    return is_xgboost(estimator) or hasattr(estimator, "partial_fit")


def load_sample(path: str) -> Rows:
    """Return a random sample of a part's rows, all rows of a small part."""
    share = min(1.0, SAMPLE_ROWS / count_rows(path))
    sampled, first = [], 0
    for rows, _ in read_groups(path):
        sampled.append(rows[sample_mask(np.arange(first, first + len(rows)), share)])
        first += len(rows)
    return np.concatenate(sampled)


def fit_in_chunks(name: str, estimator: Any, path: str, description: TableDescription, seed: int) -> tuple[Any, str]:
    """Return the estimator, trained on the part in chunks, and a sentence about the preparation of its rows.

    Args:
        name: Name of the estimator in messages.
        estimator: The estimator; `learns_in_chunks` is true for it.
        path: Path of the training part.
        description: The description of the table.
        seed: Seed of the order of the rows.

    Raises:
        StepError: The estimator refuses its parameters or the data.
    """
    prepared, transform, preparation = prepare_by_sample(estimator, path, description)
    try:
        if is_xgboost(estimator):
            from workloads.ml.training.boosting import boost

            boost(estimator, path, description)
            return prepared, f"{preparation}; it learns from chunks on disk"
        passes = _fit_partially(estimator, transform, path, description, seed)
    except StepError:
        raise
    except Exception as error:  # estimators have no common base class of errors
        raise StepError(f"estimator: {name} cannot be trained in chunks: {first_line(error)}") from error
    return prepared, f"{preparation}; it learns in chunks, in {passes} passes"


def prepare_by_sample(
    estimator: Any, path: str, description: TableDescription
) -> tuple[Any, Callable[[Rows], Any], str]:
    """Return the estimator with its preparation, the fitted preparation alone, and a sentence about it.

    Means, deviations and medians are those of a sample.
    """
    prepared, preparation = prepare(estimator, description["columns"])
    if prepared is estimator:
        return prepared, lambda rows: rows, preparation
    transformer = prepared[:-1].fit(load_sample(path))
    return prepared, transformer.transform, f"{preparation}, as a sample of its rows gives them"


def is_xgboost(estimator: Any) -> bool:
    """Return True for an estimator of XGBoost."""
    return type(estimator).__module__.startswith("xgboost")


def _fit_partially(
    estimator: Any, transform: Callable[[Rows], Any], path: str, description: TableDescription, seed: int
) -> int:
    """Train by `partial_fit` and return the number of passes."""
    task, classes = Task(description["task"]), np.arange(len(description["classes"]))
    # An estimator without iterations has learned all after one pass.
    passes = min(estimator.max_iter, PASSES) if hasattr(estimator, "max_iter") else 1
    random = np.random.default_rng(seed)
    for _ in range(passes):
        for rows, labels in _mixed(path, random):
            if task is Task.ANOMALY:
                estimator.partial_fit(transform(rows[labels == 0]))
            elif task is Task.CLASSIFICATION:
                estimator.partial_fit(transform(rows), labels, classes=classes)
            else:
                estimator.partial_fit(transform(rows), labels)
    return passes


def _mixed(path: str, random: np.random.Generator) -> Iterator[tuple[Rows, Labels | Values]]:
    """Yield all rows of a part in a random order: some groups at a time, mixed."""
    order: Sequence[int] = random.permutation(count_groups(path)).tolist()
    for first in range(0, len(order), MIXED_GROUPS):
        groups = [read_group(path, index) for index in order[first : first + MIXED_GROUPS]]
        rows = np.concatenate([rows for rows, _ in groups])
        labels = np.concatenate([labels for _, labels in groups])
        mixed = random.permutation(len(rows))
        yield rows[mixed], labels[mixed]
