"""A logistic regression on split data."""

from kfp.dsl import Dataset, Input, Metrics, Output

from workloads.components import component


@component
def logistic_regression(data: Input[Dataset], metrics: Output[Metrics], max_iterations: int = 1000) -> float:
    """Trains a logistic regression and returns its accuracy on the test part.

    Args:
        data: JSON with x_train, y_train, x_test, y_test.
        metrics: The accuracy.
        max_iterations: Steps of the solver at most.
    """
    from sklearn.linear_model import LogisticRegression

    from workloads.ml.comparison import held_out_accuracy

    accuracy = held_out_accuracy(data.path, LogisticRegression(max_iter=max_iterations))
    metrics.log_metric("accuracy", accuracy)
    return accuracy
