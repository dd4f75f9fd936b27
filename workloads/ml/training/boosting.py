"""XGBoost on a part that is larger than memory; the trained booster becomes the estimator that is exported."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from xgboost import Booster, DataIter, ExtMemQuantileDMatrix, train

from workloads.ml.data.table import TableDescription, count_groups, read_group


def boost(estimator: Any, path: str, description: TableDescription) -> None:
    """Train an estimator of XGBoost on a part; its row groups are read from disk again and again."""
    with tempfile.TemporaryDirectory() as folder:
        booster = _train(estimator, RowGroups(path, str(Path(folder) / "cache")), description)
    adopt_booster(estimator, booster)


def _train(estimator: Any, groups: RowGroups, description: TableDescription) -> Booster:
    parameters = booster_parameters(estimator, description)
    # The matrix deletes its cache at the end of this function.
    bins, threads = parameters.get("max_bin", 256), parameters.get("n_jobs")
    data = ExtMemQuantileDMatrix(groups, max_bin=bins, nthread=threads)
    return train(parameters, data, estimator.get_num_boosting_rounds())


class RowGroups(DataIter):
    """The row groups of a part, as XGBoost reads them; it keeps what it computes of them in a cache on disk.

    Args:
        path: Path of the part.
        cache: Beginning of the paths of the cache.
    """

    def __init__(self, path: str, cache: str) -> None:
        self._path, self._groups, self._next = path, count_groups(path), 0
        super().__init__(cache_prefix=cache)

    def next(self, input_data: Callable[..., Any]) -> bool:
        """Pass the next group on; return False at the end."""
        if self._next == self._groups:
            return False
        rows, labels = read_group(self._path, self._next)
        input_data(data=rows, label=labels)
        self._next += 1
        return True

    def reset(self) -> None:
        """Begin again."""
        self._next = 0


def adopt_booster(estimator: Any, booster: Booster) -> None:
    """Make an estimator of XGBoost the one that was trained as a booster."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "booster.ubj"
        booster.save_model(file)
        estimator.load_model(file)


def booster_parameters(estimator: Any, description: TableDescription) -> dict[str, Any]:
    """Return the parameters of an estimator for XGBoost's own interface."""
    classes = len(description["classes"])
    if classes:
        estimator.set_params(objective="multi:softprob" if classes > 2 else "binary:logistic")
    parameters = {name: value for name, value in estimator.get_xgb_params().items() if value is not None}
    return parameters | ({"num_class": classes} if classes > 2 else {})
