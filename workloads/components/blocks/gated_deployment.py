"""The gate of a pipeline: tests a model, deploys it if it passes the gate, and keeps the champion otherwise."""

from typing import Any, NamedTuple

from kfp import dsl

from workloads.components import load_component

test_model = load_component("test_model")
deploy_model = load_component("deploy_model")
keep_model = load_component("keep_model")


class DeploymentOutputs(NamedTuple):
    """Outputs of a pipeline that deploys a classifier; `version` is empty if the model was not deployed."""

    accuracy: float
    deployed: bool
    version: str
    decision: str


class RegressionOutputs(NamedTuple):
    """Outputs of a pipeline that deploys a regression; `version` is empty if the model was not deployed."""

    rmse: float
    deployed: bool
    version: str
    decision: str


class AnomalyOutputs(NamedTuple):
    """Outputs of a pipeline that deploys an anomaly detection; `version` is empty if the model was not deployed."""

    f1: float
    deployed: bool
    version: str
    decision: str


def deploy_if_better(
    model: Any,
    test: Any,
    *,
    model_name: Any,
    tracking_url: Any,
    pipeline: str,
    run_key: Any,
    gate: Any = None,
    baseline: Any = None,
    outputs: type[Any] = DeploymentOutputs,
) -> Any:
    """Add the test of a model and the gate to the pipeline that is being defined.

    The test step always runs: its comparison with the champion depends on the model registry.

    Args:
        model: The model directory, an output of the training step.
        test: The test part, an output of the preprocessing step.
        model_name: Name of the registered model.
        tracking_url: Address of MLflow.
        pipeline: Name of the pipeline, which is the MLflow experiment.
        run_key: The pipeline's parameter `run_key`.
        gate: The pipeline's parameter `gate`: the conditions of the setting.
        baseline: Accuracy in [0, 1] that the model must exceed if `gate` is empty.
        outputs: `DeploymentOutputs` for a classification, `RegressionOutputs` for a regression, or `AnomalyOutputs`.

    Returns:
        The outputs of the pipeline; the first has the name and the value of the model's main metric.
    """
    score = outputs._fields[0]
    given = {name: value for name, value in {"gate": gate, "baseline": baseline}.items() if value is not None}
    registry = {"model_name": model_name, "tracking_url": tracking_url}
    tested = test_model(test=test, model=model, **given, **registry).set_caching_options(False)
    metrics = tested.outputs["metrics"]
    with dsl.If(tested.outputs["passed"] == True):  # noqa: E712
        deployment = {"pipeline": pipeline, "run_key": run_key, **given, **registry}
        deployed = deploy_model(model=model, metrics=metrics, score=score, **deployment).outputs
    with dsl.Else():
        comparison = tested.outputs["comparison"]
        kept = keep_model(metrics=metrics, score=score, comparison=comparison, model_name=model_name).outputs
    decided = [dsl.OneOf(deployed[name], kept[name]) for name in ("score", "deployed", "version", "decision")]
    return outputs(*decided)
