"""docs/reference/estimators.md: complete, and right for a sample.

`python -m tools.ci.estimator_table` writes all of it.
"""

from __future__ import annotations

import re

import pytest

from settings.paths import PROJECT
from tools.ci import estimator_table
from workloads.ml.data.target import Task

ROW = re.compile(r"^\| `(\w+)`[^|]*\| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)


def verdicts(task: Task) -> dict[str, tuple[str, ...]]:
    """Return the verdicts of the page by name of the estimator."""
    page = (PROJECT / "docs" / "reference" / "estimators.md").read_text()
    section = page.partition(f"## {task.capitalize()}\n")[2].partition("\n## ")[0]
    return {name: tuple(found) for name, *found in ROW.findall(section)}


@pytest.mark.parametrize("task", list(Task))
def test_estimator_page_names_every_estimator(task: Task) -> None:
    assert sorted(verdicts(task)) == estimator_table.names(task)


@pytest.mark.parametrize(
    ("task", "name"),
    [
        (Task.CLASSIFICATION, "DecisionTreeClassifier"),
        (Task.CLASSIFICATION, "GaussianNB"),
        (Task.CLASSIFICATION, "NearestCentroid"),
        (Task.CLASSIFICATION, "SVC"),
        (Task.CLASSIFICATION, "XGBClassifier"),
        (Task.REGRESSION, "KernelRidge"),
        (Task.REGRESSION, "LGBMRegressor"),
        (Task.REGRESSION, "LinearRegression"),
        (Task.REGRESSION, "MultiTaskLasso"),
    ],
)
def test_estimator_page_says_what_an_export_gives(task: Task, name: str) -> None:
    found = [
        estimator_table.verdict(name, task, columns) for columns in (estimator_table.NUMBERS, estimator_table.MIXED)
    ]
    assert [each.partition(":")[0] for each in found] == [each.partition(":")[0] for each in verdicts(task)[name]]
