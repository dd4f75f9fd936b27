"""Plots of a tested model, and the HTML page that shows them."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from html import escape
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from workloads.ml.data.target import Labels, Values
from workloads.ml.evaluation.curves import calibration_curve, precision_recall_curve, roc_curve
from workloads.ml.evaluation.scores import Confusion, Probabilities

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAXIMUM_BARS = 20
MAXIMUM_CURVES = 10
DIAGONAL = (None, [0, 1], [0, 1], "gray")
"""Line of a model whose scores are chance, or whose probabilities are exact."""
MAXIMUM_DOTS = 5000
RESIDUAL_BINS = 30
MAXIMUM_INCHES = 16
DOTS_PER_INCH = 120


def plot_confusion(matrix: Confusion, classes: list[str]) -> bytes:
    """Return the confusion matrix as PNG; a cell is darker for a larger share of the true class."""
    from matplotlib.figure import Figure

    share = matrix / matrix.sum(axis=1, keepdims=True).clip(min=1)
    side = min(2.4 + 0.6 * len(classes), MAXIMUM_INCHES)
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.add_subplot(xlabel="predicted", ylabel="true", title="Confusion matrix, test rows")
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(classes)), classes, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(classes)), classes)
    for row, column in zip(*matrix.nonzero(), strict=True):
        colour = "white" if share[row, column] > 0.5 else "black"
        axes.text(column, row, str(matrix[row, column]), ha="center", va="center", color=colour)
    return figure_png(figure)


def plot_importance(importance: Mapping[str, float]) -> bytes:
    """Return the importance of the features in training as PNG, the most important on top."""
    return _plot_bars(importance, "Feature importance", "share of the decrease in impurity")


def plot_permutation_importance(importance: Mapping[str, float], metric: str) -> bytes:
    """Return the importance of the features for the test rows as PNG, the most important on top."""
    return _plot_bars(importance, "Permutation importance, test rows", f"change of {metric} without the feature")


def plot_curves(labels: Labels, probabilities: Probabilities, classes: list[str]) -> dict[str, bytes]:
    """Return ROC curves, precision-recall curves and calibration as PNG by name, for classes that have test rows."""
    truth = labels[:, None] == np.arange(len(classes))
    shown = [index for index in range(len(classes)) if 0 < truth[:, index].sum() < len(labels)][:MAXIMUM_CURVES]
    roc = [(classes[index], *roc_curve(truth[:, index], probabilities[:, index])[:2]) for index in shown]
    precision = [(classes[index], *precision_recall_curve(truth[:, index], probabilities[:, index])) for index in shown]
    calibration = [("all classes", *calibration_curve(truth, probabilities)), DIAGONAL]
    return {
        "roc_curve": _plot_lines([*roc, DIAGONAL], "ROC curve", "false positive rate", "true positive rate"),
        "precision_recall_curve": _plot_lines(precision, "Precision and recall", "recall", "precision"),
        "calibration": _plot_lines(calibration, "Calibration", "predicted probability", "share of true ones", "o-"),
    }


def plot_scores(truth: NDArray[np.bool_], column: NDArray[np.floating]) -> dict[str, bytes]:
    """Return the ROC curve and the precision-recall curve of scores as PNG by name."""
    roc = ("", *roc_curve(truth, column)[:2])
    precision = ("", *precision_recall_curve(truth, column))
    return {
        "roc_curve": _plot_lines([roc, DIAGONAL], "ROC curve", "false positive rate", "true positive rate"),
        "precision_recall_curve": _plot_lines([precision], "Precision and recall", "recall", "precision"),
    }


def plot_residuals(truth: Values, predicted: Values, targets: Sequence[str]) -> dict[str, bytes]:
    """Return predicted and true numbers, and the residuals of the test rows, as PNG by name."""
    rows = slice(MAXIMUM_DOTS)
    against = _figure("Predicted and true, test rows", "true", "predicted")
    residuals = _figure("Residuals, test rows", "predicted", "predicted - true")
    counts = _figure("Residuals, test rows", "predicted - true", "rows")
    for index, name in enumerate(targets):
        true, found = truth[:, index], predicted[:, index]
        against.axes[0].plot(true[rows], found[rows], ".", label=name)
        residuals.axes[0].plot(found[rows], (found - true)[rows], ".", label=name)
        counts.axes[0].hist(found - true, bins=RESIDUAL_BINS, alpha=0.7, label=name)
    lowest, highest = float(truth.min()), float(truth.max())
    against.axes[0].plot([lowest, highest], [lowest, highest], color="gray", linewidth=1)
    residuals.axes[0].axhline(0, color="gray", linewidth=1)
    figures = {"predicted_and_true": against, "residuals": residuals, "residual_distribution": counts}
    for figure in figures.values():
        figure.axes[0].legend()
    return {name: figure_png(figure) for name, figure in figures.items()}


def _plot_bars(values: Mapping[str, float], title: str, label: str) -> bytes:
    from matplotlib.figure import Figure

    ranked = sorted(values.items(), key=lambda item: item[1])[-MAXIMUM_BARS:]
    figure = Figure(figsize=(6, 1.2 + 0.32 * len(ranked)), layout="constrained")
    more = f", the first {MAXIMUM_BARS}" if len(values) > MAXIMUM_BARS else ""
    axes = figure.add_subplot(xlabel=label, title=title + more)
    axes.barh([name for name, _ in ranked], [value for _, value in ranked])
    return figure_png(figure)


def _plot_lines(lines: Sequence[tuple[Any, ...]], title: str, x: str, y: str, style: str = "-") -> bytes:
    figure = _figure(f"{title}, test rows", x, y)
    for name, xs, ys, *colour in lines:
        figure.axes[0].plot(xs, ys, "-" if colour else style, label=name, **dict(zip(["color"], colour, strict=False)))
    if any(name for name, *_ in lines):
        figure.axes[0].legend()
    return figure_png(figure)


def _figure(title: str, x: str, y: str) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.8, 4.2), layout="constrained")
    figure.add_subplot(xlabel=x, ylabel=y, title=title)
    return figure


def report_page(title: str, scores: Mapping[str, float], plots: Mapping[str, bytes], notes: Sequence[str] = ()) -> str:
    """Return an HTML page with a table of the scores, the sentences of `notes`, and the plots embedded."""
    rows = "".join(f"<tr><th>{escape(name)}</th><td>{value:.4f}</td></tr>" for name, value in scores.items())
    sentences = "".join(f"<p>{escape(note)}</p>" for note in notes)
    sources = {name: f"data:image/png;base64,{b64encode(png).decode()}" for name, png in plots.items()}
    images = "".join(f'<img alt="{escape(name)}" src="{source}">' for name, source in sources.items())
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
        "<style>body{font-family:sans-serif;margin:2em}th{text-align:left;padding-right:2em}"
        "img{max-width:100%;vertical-align:top}</style>"
        f"<h1>{escape(title)}</h1>{sentences}<table>{rows}</table>{images}</html>\n"
    )


def figure_png(figure: Figure) -> bytes:
    """Return a figure as PNG."""
    content = BytesIO()
    figure.savefig(content, format="png", dpi=DOTS_PER_INCH)
    return content.getvalue()
