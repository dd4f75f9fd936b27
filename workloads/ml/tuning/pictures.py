"""Pictures of a search: its history, the importance of parameters, and parallel coordinates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from workloads.ml.evaluation.report import figure_png
from workloads.ml.tuning.search import Search
from workloads.ml.tuning.search_space import ESTIMATOR
from workloads.ml.tuning.study import create_study
from workloads.ml.tuning.trial_runs import TrialRun, TrialStatus

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEAST_TRIALS = 4
"""Least complete trials of an estimator for the importance of its parameters."""


def plot_search(search: Search, trials: Sequence[TrialRun]) -> dict[str, bytes]:
    """Return the pictures of a search as PNG by name."""
    complete = [trial for trial in trials if trial.state is TrialStatus.COMPLETE]
    groups = {name: [each for each in complete if each.parameters[ESTIMATOR] == name] for name in search.spaces}
    return {
        "history": _plot_history(search, trials),
        "importances": _plot_importances(search, groups),
        **{f"parallel_coordinates_{name}": _plot_coordinates(search, name, group) for name, group in groups.items()},
    }


def _plot_history(search: Search, trials: Sequence[TrialRun]) -> bytes:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot(xlabel="trial", ylabel=f"mean {search.metric} of the folds", title="History")
    for number, name in enumerate(search.spaces):
        for state, marker in ((TrialStatus.COMPLETE, "o"), (TrialStatus.PRUNED, "x")):
            shown = [each for each in trials if each.state is state and each.parameters[ESTIMATOR] == name]
            label = name if state is TrialStatus.COMPLETE else f"{name}, pruned"
            points = [each.number for each in shown], [each.means[-1] for each in shown]
            if shown:
                axes.plot(*points, marker, color=f"C{number}", label=label)
    best = max if search.maximize else min
    complete = [each for each in trials if each.state is TrialStatus.COMPLETE]
    values = [best(each.means[-1] for each in complete[: index + 1]) for index in range(len(complete))]
    axes.step([each.number for each in complete], values, where="post", color="gray", label="best so far")
    axes.legend(fontsize="small")
    return figure_png(figure)


def _plot_importances(search: Search, groups: dict[str, list[TrialRun]]) -> bytes:
    from matplotlib.figure import Figure

    heights = [1.8 + 0.35 * len(search.spaces[name]) for name in groups]
    figure = Figure(figsize=(7, sum(heights)), layout="constrained")
    rows = figure.subplots(len(groups), squeeze=False, height_ratios=heights)
    for (axes,), (name, group) in zip(rows, groups.items(), strict=True):
        axes.set_title(f"Importance of parameters: {name}, {len(group)} complete trials")
        shares = _importances(search, group)
        axes.barh(list(shares), list(shares.values()))
        axes.set_xlim(0, 1)
        if not shares:
            axes.set_yticks([])
            axes.text(0.5, 0.5, f"needs {LEAST_TRIALS} trials with different values", ha="center", va="center")
    return figure_png(figure)


def _importances(search: Search, group: Sequence[TrialRun]) -> dict[str, float]:
    """Return the share of each parameter in the variance of the metric, the smallest first."""
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances

    varied = _varied(group)
    if len(group) < LEAST_TRIALS or len({each.means[-1] for each in group}) < 2 or not varied:
        return {}
    study = create_study(search, group)
    evaluator = FanovaImportanceEvaluator(seed=search.seed)
    shares = get_param_importances(study, evaluator=evaluator, params=varied)
    return {name.partition(".")[2]: share for name, share in reversed(shares.items())}


def _plot_coordinates(search: Search, estimator: str, group: Sequence[TrialRun]) -> bytes:
    from matplotlib.figure import Figure

    names = [*_varied(group), search.metric]
    figure = Figure(figsize=(2 + 1.6 * len(names), 4), layout="constrained")
    axes = figure.add_subplot(title=f"Parallel coordinates: {estimator}, the best in dark", ylim=(-0.05, 1.05))
    columns = [[each.parameters[name] for each in group] for name in names[:-1]] + [[each.means[-1] for each in group]]
    scaled = [_draw_axis(axes, index, values) for index, values in enumerate(columns)]
    quality = scaled[-1] if search.maximize else [1 - each for each in scaled[-1]]
    for line, good in sorted(zip(zip(*scaled, strict=True), quality, strict=True), key=lambda pair: pair[1]):
        axes.plot(range(len(names)), line, color=(0.1, 0.2, 0.5), alpha=0.15 + 0.85 * good**2)
    axes.set_xticks(range(len(names)), [name.partition(".")[2] or name for name in names], rotation=20, ha="right")
    axes.set_yticks([])
    return figure_png(figure)


def _draw_axis(axes: Axes, index: int, values: Sequence[Any]) -> list[float]:
    """Draw a vertical axis with its smallest and largest value, or all texts; return the values scaled to [0, 1]."""
    axes.axvline(index, color="gray", linewidth=0.5)
    numeric = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)
    places: list[Any] = sorted(set(values)) if numeric else sorted({str(value) for value in values})
    if numeric and places:
        low, span = places[0], (places[-1] - places[0]) or 1
        labels = {(place - low) / span: f"{place:.4g}" for place in (places[0], places[-1])}
        scaled = [(value - low) / span for value in values]
    else:
        height = {text: position / max(1, len(places) - 1) for position, text in enumerate(places)}
        labels = {position: text for text, position in height.items()}
        scaled = [height[str(value)] for value in values]
    for position, text in labels.items():
        axes.text(index + 0.03, position, text, fontsize="small")
    return scaled


def _varied(group: Sequence[TrialRun]) -> list[str]:
    """Return the parameters that have several values in trials of one estimator."""
    names = group[0].parameters if group else {}
    return [name for name in names if len({str(each.parameters[name]) for each in group}) > 1]
