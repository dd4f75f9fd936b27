"""The Iris data set of scikit-learn."""

from kfp.dsl import Dataset, Output

from workloads.components import component


@component
def download_data(data: Output[Dataset], seed: int = 0) -> None:
    """Write scikit-learn's Iris, split 80/20 within each class.

    Args:
        data: JSON with x_train, y_train, x_test, y_test.
        seed: Seed of the split.
    """
    from workloads.ml.model.comparison import save_iris

    data.metadata["rows"] = save_iris(data.path, seed)
