"""A table of two accuracies."""

from kfp.dsl import Markdown, Output

from workloads.components import component


@component
def show_results(decision_tree_accuracy: float, logistic_regression_accuracy: float, summary: Output[Markdown]) -> None:
    """Write and print the accuracies of two classifiers.

    Args:
        decision_tree_accuracy: Accuracy of the decision tree, in [0, 1].
        logistic_regression_accuracy: Accuracy of the logistic regression, in [0, 1].
        summary: Table of both accuracies.
    """
    from pathlib import Path

    accuracies = {"Decision tree": decision_tree_accuracy, "Logistic regression": logistic_regression_accuracy}
    for name, accuracy in accuracies.items():
        print(f"{name} accuracy: {accuracy:.4f}")
    rows = "".join(f"| {name} | {accuracy:.4f} |\n" for name, accuracy in accuracies.items())
    Path(summary.path).write_text(f"| model | accuracy |\n|---|---|\n{rows}")
