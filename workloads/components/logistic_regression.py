"""A logistic regression on split data."""

from kfp.dsl import Dataset, Input, Metrics, Output

from workloads.components import component


@component
def logistic_regression(data: Input[Dataset], metrics: Output[Metrics], max_iterations: int = 1000) -> float:
    """Train a logistic regression and return its accuracy on the test part.

    Args:
        data: JSON with x_train, y_train, x_test, y_test.
        metrics: The accuracy, in [0, 1].
        max_iterations: Maximum number of iterations of the solver.
    """
    from sklearn.linear_model import LogisticRegression

    from workloads.ml.model.comparison import held_out_accuracy

    accuracy = held_out_accuracy(data.path, LogisticRegression(max_iter=max_iterations))
    metrics.log_metric("accuracy", accuracy)
    return accuracy
