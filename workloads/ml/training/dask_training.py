"""Training of XGBoost on the workers of Dask: each holds some row groups of the training part."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workloads.ml.data.table import TableDescription, count_groups, read_group
from workloads.ml.errors import StepError
from workloads.ml.training.chunks import prepare_by_sample
from workloads.ml.training.dask_workers import DaskWorkers
from workloads.ml.training.estimators import first_line

if TYPE_CHECKING:
    from dask.array import Array

ESTIMATORS = ("XGBClassifier", "XGBRegressor", "XGBRFClassifier", "XGBRFRegressor")
ATTEMPTS = 3
"""A lost worker takes its rows with it: the training begins again with all workers."""


def fit_on_workers(
    dask: DaskWorkers, name: str, estimator: Any, path: str, description: TableDescription
) -> tuple[Any, str]:
    """Return the estimator, trained on the workers, and a sentence about the preparation of its rows.

    Args:
        dask: The workers.
        name: Name of the estimator in messages.
        estimator: The estimator, not trained yet.
        path: Path of the training part.
        description: The description of the table.

    Raises:
        StepError: The estimator is none of `ESTIMATORS`, refuses the data, or workers are lost repeatedly.
    """
    if type(estimator).__name__ not in ESTIMATORS:
        raise StepError(
            f"dask: {name} does not learn on several workers; leave out `dask`, or choose one of: "
            f"{', '.join(ESTIMATORS)}"
        )
    prepared, _, preparation = prepare_by_sample(estimator, path, description)
    if prepared is not estimator:
        raise StepError(f"dask: {name} needs imputed values here; leave out `dask`, or choose XGBClassifier")
    for attempt in range(ATTEMPTS):
        addresses = dask.wait()
        try:
            _fit(dask, estimator, *_scatter(dask, addresses, path), description)
            break
        except Exception as error:  # the libraries raise many types if a worker is lost
            remaining = set(dask.client.scheduler_info(n_workers=-1)["workers"])
            if set(addresses) <= remaining:
                raise StepError(f"estimator: {name} cannot be trained: {first_line(error)}") from error
            if attempt + 1 == ATTEMPTS:
                raise dask.lost(error) from error
            print(f"a worker was lost during the training, which begins again: {first_line(error)}", flush=True)
    return estimator, f"{preparation}; it learns on {dask.count} workers of Dask"


def _scatter(dask: DaskWorkers, addresses: list[str], path: str) -> tuple[Array, Array]:
    """Return rows and labels of the part, whose row groups are spread over the workers."""
    from dask import array, delayed

    blocks: list[Any] = []
    for index in range(count_groups(path)):
        rows, labels = read_group(path, index)
        worker = addresses[index % len(addresses)]
        futures = dask.client.scatter([rows, labels], workers=[worker], hash=False)
        blocks.append(
            [
                array.from_delayed(delayed(future), shape=each.shape, dtype=each.dtype)
                for future, each in zip(futures, (rows, labels), strict=True)
            ]
        )
    first, second = zip(*blocks, strict=True)
    return array.concatenate(first), array.concatenate(second)


def _fit(dask: DaskWorkers, estimator: Any, rows: Array, labels: Array, description: TableDescription) -> None:
    from xgboost import dask as dask_xgboost

    from workloads.ml.training.boosting import adopt_booster, booster_parameters

    parameters = booster_parameters(estimator, description)
    data = dask_xgboost.DaskQuantileDMatrix(dask.client, rows, labels, max_bin=parameters.get("max_bin", 256))
    rounds = estimator.get_num_boosting_rounds()
    adopt_booster(estimator, dask_xgboost.train(dask.client, parameters, data, rounds)["booster"])
