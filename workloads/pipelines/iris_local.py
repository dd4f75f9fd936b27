"""Comparison of two classifiers on scikit-learn's Iris."""

from typing import NamedTuple

from kfp import dsl

from workloads.components import load_component

download_data = load_component("download_data")
decision_tree = load_component("decision_tree")
logistic_regression = load_component("logistic_regression")
show_results = load_component("show_results")


class IrisLocalOutputs(NamedTuple):
    """Accuracies on the test part, in [0, 1]."""

    decision_tree_accuracy: float
    logistic_regression_accuracy: float


@dsl.pipeline(name="iris-local")
def iris_local(seed: int = 0, max_depth: int = 6) -> IrisLocalOutputs:
    """Compare a decision tree and a logistic regression on Iris."""
    data = download_data(seed=seed).outputs["data"]
    tree = decision_tree(data=data, max_depth=max_depth, seed=seed)
    regression = logistic_regression(data=data)
    accuracies = IrisLocalOutputs(tree.outputs["Output"], regression.outputs["Output"])
    show_results(**accuracies._asdict())
    return accuracies
