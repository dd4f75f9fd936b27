"""Optuna's study of a search, made from its trials in MLflow: it proposes parameters and prunes trials."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from workloads.ml.tuning.search import Search
from workloads.ml.tuning.search_space import ESTIMATOR, distributions, suggest
from workloads.ml.tuning.trial_runs import TrialRun, TrialStatus

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial

SEED_STEP = 7919
"""Distance of the sampler's seeds of two trials: workers propose different parameters for different numbers."""
TRIALS_BEFORE_PRUNING = 4


def create_study(search: Search, trials: Sequence[TrialRun], number: int = 0) -> Study:
    """Return a study that knows the trials of a search, with the sampler of the trial `number`."""
    import optuna
    from optuna.exceptions import ExperimentalWarning

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        study = optuna.create_study(
            direction="maximize" if search.maximize else "minimize",
            sampler=_sampler(search, number),
            pruner=optuna.pruners.MedianPruner(n_startup_trials=TRIALS_BEFORE_PRUNING)
            if search.settings.prune
            else optuna.pruners.NopPruner(),
        )
    study.add_trials([_frozen(search, trial) for trial in trials if trial.state is not TrialStatus.FAILED])
    return study


def propose(search: Search, trials: Sequence[TrialRun], number: int) -> tuple[Trial, dict[str, Any]]:
    """Return the trial `number` of a study, and its estimator and parameters.

    The first trials of `tpe` try each estimator once.
    """
    study = create_study(search, trials, number)
    estimators = list(search.spaces)
    if search.settings.sampler == "grid":
        study.enqueue_trial(search.grid_point(number))
    elif search.settings.sampler == "tpe" and number < len(estimators):
        study.enqueue_trial({ESTIMATOR: estimators[number]})
    trial = study.ask()
    return trial, suggest(trial, search.spaces)


def _sampler(search: Search, number: int) -> BaseSampler:
    from optuna.samplers import RandomSampler, TPESampler

    seed = (search.seed + SEED_STEP * number) % 2**32
    if search.settings.sampler == "tpe":
        return TPESampler(seed=seed, constant_liar=search.settings.parallel > 1)
    return RandomSampler(seed=seed)


def _frozen(search: Search, trial: TrialRun) -> FrozenTrial:
    from optuna.trial import TrialState, create_trial

    states = {
        TrialStatus.RUNNING: TrialState.RUNNING,
        TrialStatus.COMPLETE: TrialState.COMPLETE,
        TrialStatus.PRUNED: TrialState.PRUNED,
    }
    known = distributions(search.spaces)
    return create_trial(
        state=states[trial.state],
        value=trial.means[-1] if trial.means else None,
        params=trial.parameters,
        distributions={name: known[name] for name in trial.parameters},
        intermediate_values=dict(enumerate(trial.means)),
    )
