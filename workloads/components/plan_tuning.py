"""Plan of a search for the best estimator and parameters."""

from typing import NamedTuple

from kfp.dsl import Dataset, Input

from workloads.components import component


@component
def plan_tuning(
    train: Input[Dataset],
    tracking_url: str,
    pipeline: str,
    run_key: str = "",
    tune: dict = {},  # noqa: B006
    seed: int = 123,
) -> NamedTuple("Plan", [("search", str), ("workers", list)]):  # type: ignore[valid-type]
    """Check the setting tune against the training part, and continue a study whose run was killed.

    Args:
        train: The training part as preprocess_data writes it.
        tracking_url: Address of MLflow, which stores the trials.
        pipeline: Name of the pipeline, which is the MLflow experiment.
        run_key: Key of the pipeline run; its experiment run is the parent of the trials.
        tune: The setting tune.
        seed: Seed of folds, estimators and sampler.
    """
    from workloads.ml import tracking
    from workloads.ml.tuning.search import plan_search
    from workloads.ml.tuning.trial_runs import TrialRuns

    run = tracking.find_or_create_run(tracking.client(tracking_url), pipeline, run_key)
    search = plan_search(train.path, tune, seed, run.info.experiment_id, run.info.run_id)
    known = TrialRuns(tracking_url, search).take_over()
    print(f"study {search.study}: {search.trials} trials, {known} of them known; estimators {', '.join(search.spaces)}")
    # kfp passes the items of a list from a compiled component as texts.
    return (search.to_json(), [str(number) for number in range(search.settings.parallel)])
