"""Search for the best estimator: a plan, workers that share a study, and the training of the best one."""

from typing import Any

from kfp import dsl

from workloads.components import load_component

plan_tuning = load_component("plan_tuning")
run_trials = load_component("run_trials")
train_best = load_component("train_best")


def train_tuned(
    train: Any, *, tune: Any, model_name: Any, tracking_url: Any, pipeline: str, run_key: Any, seed: Any
) -> Any:
    """Add the search for the best estimator to the pipeline that is being defined.

    Args:
        train: The training part, an output of the preprocessing step.
        tune: The pipeline's parameter `tune`: the setting.
        model_name: Name of the registered model.
        tracking_url: Address of MLflow.
        pipeline: Name of the pipeline, which is the MLflow experiment.
        run_key: The pipeline's parameter `run_key`.
        seed: Seed of folds, estimators and sampler.

    Returns:
        The model directory of the best estimator, trained on the whole training part.
    """
    planned = plan_tuning(
        train=train, tune=tune, seed=seed, tracking_url=tracking_url, pipeline=pipeline, run_key=run_key
    )
    plan = planned.set_caching_options(False).outputs  # the time limit begins here
    with dsl.ParallelFor(plan["workers"]) as worker:
        trials = run_trials(train=train, search=plan["search"], worker=worker, tracking_url=tracking_url)
        trials.set_caching_options(False)
    best = train_best(
        train=train,
        search=plan["search"],
        ended=dsl.Collected(trials.output),
        model_name=model_name,
        tracking_url=tracking_url,
    )
    return best.set_caching_options(False).outputs["model"]
