"""Training of the best estimator of a search, written as a model directory."""

from kfp.dsl import HTML, Dataset, Input, Metrics, Model, Output

from workloads.components import component


@component
def train_best(
    train: Input[Dataset],
    model: Output[Model],
    metrics: Output[Metrics],
    report: Output[HTML],
    search: str,
    ended: list,
    model_name: str,
    tracking_url: str,
) -> None:
    """Train the estimator of the best trial on the whole training part and write it as ONNX with its signature.

    Args:
        train: The training part as preprocess_data writes it.
        model: The model directory.
        metrics: Number of trials by state, and the cross-validated metric of the best one.
        report: HTML page with the pictures of the search.
        search: The search as plan_tuning returns it.
        ended: Numbers of trials that each worker ended; this step starts after all workers.
        model_name: Name of the model in its signature.
        tracking_url: Address of MLflow, which stores the trials.
    """
    from pathlib import Path

    from workloads.ml.evaluation.report import report_page
    from workloads.ml.tuning import result
    from workloads.ml.tuning.search import Search

    print(f"trials that ended in this run, by worker: {ended}")
    found = result.fit_best(Search.from_json(search), train.path, Path(model.path), model_name, tracking_url)
    for name, value in found.metrics.items():
        metrics.log_metric(name, value)
        print(f"{name} {value:.4f}")
    for note in found.notes:
        print(note)
    Path(report.path).write_text(report_page(found.title, found.metrics, found.plots, found.notes))
