"""A model directory on rows that it has not seen."""

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
) -> float:
    """Runs the exported model on the test part and returns its accuracy.

    Args:
        test: The test part as preprocess_data writes it.
        model: The model directory.
        metrics: Accuracy, precision, recall and F1, the last three as the mean over the classes.
        confusion: The confusion matrix.
        report: A page with the metrics and the plots.
        plots: A folder with each plot as PNG.
    """
    from pathlib import Path

    from workloads.ml import evaluation, table
    from workloads.ml import model as models
    from workloads.ml import report as reports
    from workloads.ml.metadata import plain

    tested = models.load(Path(model.path))
    classes = tested.signature["classes"]
    rows, labels = table.load(test.path)
    matrix = evaluation.confusion(labels, tested.predict(rows)[0], len(classes))
    scores = evaluation.scores(matrix)
    for name, value in scores.items():
        metrics.log_metric(name, value)
        print(f"{name} {value:.4f}")
    confusion.log_confusion_matrix(classes, matrix.tolist())

    images = {"confusion_matrix": reports.plot_confusion(matrix, classes)}
    if importance := plain(model.metadata).get("importance"):
        images["feature_importance"] = reports.plot_importance(importance)
    title = f"{tested.signature['model']}: {len(rows)} test rows"
    Path(report.path).write_text(reports.page(title, scores, images))
    Path(plots.path).mkdir(parents=True)
    for name, image in images.items():
        (Path(plots.path) / f"{name}.png").write_bytes(image)
    return scores["accuracy"]
