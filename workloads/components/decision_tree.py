"""A decision tree on split data."""

from kfp.dsl import Dataset, Input, Metrics, Output

from workloads.components import component


@component
def decision_tree(data: Input[Dataset], metrics: Output[Metrics], max_depth: int = 6, seed: int = 0) -> float:
    """Train a decision tree and return its accuracy on the test part.

    Args:
        data: JSON with x_train, y_train, x_test, y_test.
        metrics: The accuracy, in [0, 1].
        max_depth: Maximum depth of the tree.
        seed: Seed of the choice among splits that are equally good.
    """
    from sklearn.tree import DecisionTreeClassifier

    from workloads.ml.model.comparison import held_out_accuracy

    accuracy = held_out_accuracy(data.path, DecisionTreeClassifier(max_depth=max_depth, random_state=seed))
    metrics.log_metric("accuracy", accuracy)
    return accuracy
