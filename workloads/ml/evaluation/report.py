"""Plots of a tested model, and the HTML page that shows them."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from html import escape
from io import BytesIO
from typing import TYPE_CHECKING

from workloads.ml.evaluation.scores import Confusion

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAXIMUM_BARS = 20
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
    return _png(figure)


def plot_importance(importance: Mapping[str, float]) -> bytes:
    """Return the importance of the features as PNG, the most important on top."""
    from matplotlib.figure import Figure

    ranked = sorted(importance.items(), key=lambda item: item[1])[-MAXIMUM_BARS:]
    figure = Figure(figsize=(6, 1.2 + 0.32 * len(ranked)), layout="constrained")
    title = "Feature importance" + (f", the first {MAXIMUM_BARS}" if len(importance) > MAXIMUM_BARS else "")
    axes = figure.add_subplot(xlabel="share of the decrease in impurity", title=title)
    axes.barh([name for name, _ in ranked], [share for _, share in ranked])
    return _png(figure)


def report_page(title: str, scores: Mapping[str, float], plots: Mapping[str, bytes]) -> str:
    """Return an HTML page with a table of the scores and the plots embedded."""
    rows = "".join(f"<tr><th>{escape(name)}</th><td>{value:.4f}</td></tr>" for name, value in scores.items())
    sources = {name: f"data:image/png;base64,{b64encode(png).decode()}" for name, png in plots.items()}
    images = "".join(f'<img alt="{escape(name)}" src="{source}">' for name, source in sources.items())
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
        "<style>body{font-family:sans-serif;margin:2em}th{text-align:left;padding-right:2em}"
        "img{max-width:100%;vertical-align:top}</style>"
        f"<h1>{escape(title)}</h1><table>{rows}</table>{images}</html>\n"
    )


def _png(figure: Figure) -> bytes:
    content = BytesIO()
    figure.savefig(content, format="png", dpi=DOTS_PER_INCH)
    return content.getvalue()
