"""Trials of a search: one of the workers that share a study."""

from kfp.dsl import Dataset, Input

from workloads.components import component


@component
def run_trials(train: Input[Dataset], search: str, worker: str, tracking_url: str) -> int:
    """Run trials by cross-validation until all are done or the time is over; return the number that ended here.

    Args:
        train: The training part as preprocess_data writes it.
        search: The search as plan_tuning returns it.
        worker: Number of the worker.
        tracking_url: Address of MLflow, which stores the trials.
    """
    from workloads.ml.tuning.search import Search
    from workloads.ml.tuning.trial_worker import TrialWorker

    return TrialWorker(Search.from_json(search), train.path, tracking_url, int(worker)).run()
