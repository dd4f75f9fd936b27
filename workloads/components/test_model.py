"""Test of a model directory on rows that it was not trained on."""

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
    """Predict the test part with the exported model and return its accuracy.

    Args:
        test: The test part as preprocess_data writes it.
        model: The model directory.
        metrics: Accuracy, precision, recall and F1 in [0, 1]; the last three are means over the classes.
        confusion: The confusion matrix.
        report: HTML page with the metrics and the plots.
        plots: Folder with each plot as PNG.
    """
    from pathlib import Path

    from workloads.ml.data.table import load_table
    from workloads.ml.evaluation import report as reports
    from workloads.ml.evaluation import scores
    from workloads.ml.model import model_directory
    from workloads.ml.model.model_directory import load_model_directory

    tested = load_model_directory(Path(model.path))
    classes = tested.signature["classes"]
    rows, labels = load_table(test.path)
    matrix = scores.confusion(labels, tested.predict(rows)[0], len(classes))
    results = scores.scores(matrix)
    for name, value in results.items():
        metrics.log_metric(name, value)
        print(f"{name} {value:.4f}")
    confusion.log_confusion_matrix(classes, matrix.tolist())

    images = {"confusion_matrix": reports.plot_confusion(matrix, classes)}
    if importance := model_directory.load_importance(Path(model.path)):
        images["feature_importance"] = reports.plot_importance(importance)
    title = f"{tested.signature['model']}: {len(rows)} test rows"
    Path(report.path).write_text(reports.report_page(title, results, images))
    Path(plots.path).mkdir(parents=True)
    for name, image in images.items():
        (Path(plots.path) / f"{name}.png").write_bytes(image)
    return results["accuracy"]
