"""A decision tree on split data."""

from kfp.dsl import Dataset, Input, Metrics, Output

from workloads.components import component


@component
def decision_tree(data: Input[Dataset], metrics: Output[Metrics], max_depth: int = 6, seed: int = 0) -> float:
    """Trains a decision tree and returns its accuracy on the test part.

    Args:
        data: JSON with x_train, y_train, x_test, y_test.
        metrics: The accuracy.
        max_depth: Levels of the tree.
        seed: Of the choice among equally good cuts.
    """
    from sklearn.tree import DecisionTreeClassifier

    from workloads.ml.comparison import held_out_accuracy

    accuracy = held_out_accuracy(data.path, DecisionTreeClassifier(max_depth=max_depth, random_state=seed))
    metrics.log_metric("accuracy", accuracy)
    return accuracy
