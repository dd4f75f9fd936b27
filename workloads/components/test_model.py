"""Test of a model directory on rows that it was not trained on."""

from typing import NamedTuple, Optional

from kfp.dsl import HTML, Artifact, ClassificationMetrics, Dataset, Input, Metrics, Model, Output

from workloads.components import component


@component
def test_model(
    test: Input[Dataset],
    model: Input[Model],
    metrics: Output[Metrics],
    confusion: Output[ClassificationMetrics],
    report: Output[HTML],
    plots: Output[Artifact],
    gate: list = [],  # noqa: B006
    baseline: Optional[float] = None,  # noqa: UP045
    model_name: str = "",
    tracking_url: str = "",
) -> NamedTuple("Test", [("passed", bool), ("comparison", str)]):  # type: ignore[valid-type]
    """Predict the test part with the exported model, compare it with the champion, and apply the gate.

    Args:
        test: The test part as preprocess_data writes it.
        model: The model directory.
        metrics: All metrics of the model; with a champion also champion_<metric> and changed_answers.
        confusion: The confusion matrix and the ROC curve of a classification.
        report: HTML page with the metrics and the plots.
        plots: Folder with each plot as PNG.
        gate: Conditions that the model has to meet, as the setting gate has them.
        baseline: The accuracy to exceed, if gate is empty.
        model_name: Name of the registered model; empty for no comparison with its champion.
        tracking_url: Address of MLflow.
    """
    from pathlib import Path

    from workloads.ml.evaluation.evaluate import evaluate_model
    from workloads.ml.evaluation.report import report_page

    found = evaluate_model(test.path, model.path, gate, baseline, model_name, tracking_url)
    for name, value in found.metrics.items():
        metrics.log_metric(name, value)
        print(f"{name} {value:.4f}")
    for note in found.notes:
        print(note)
    if found.classes:
        confusion.log_confusion_matrix(found.classes, found.confusion.tolist())
    if found.roc:
        confusion.log_roc_curve(*found.roc)
    Path(report.path).write_text(report_page(found.title, found.metrics, found.plots, found.notes))
    Path(plots.path).mkdir(parents=True)
    for name, image in found.plots.items():
        (Path(plots.path) / f"{name}.png").write_bytes(image)
    return (found.verdict.passed, found.verdict.comparison)
