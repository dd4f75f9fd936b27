"""Iris as scikit-learn ships it."""

from kfp.dsl import Dataset, Output

from workloads.components import component


@component
def download_data(data: Output[Dataset], seed: int = 0) -> None:
    """Writes scikit-learn's Iris, split 80/20 in each class.

    Args:
        data: JSON with x_train, y_train, x_test, y_test.
        seed: Of the split.
    """
    from workloads.ml.comparison import save_iris

    data.metadata["rows"] = save_iris(data.path, seed)
