"""Plot of the results."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from tests.bench.report import TITLES
from tests.bench.results import Results

OURS, OTHER, CONSTANT = "#1f6feb", "#9aa5b1", "#d8dee6"
COLOURS = {"ours": OURS, "ours-v2": OURS, "flask": CONSTANT, "wsgi": CONSTANT, "nginx": CONSTANT}


def draw(results: Results, file: Path) -> None:
    """Write a PNG: requests per second with our ratio to each, beside p50 and p99, on logarithmic axes."""
    names = list(results.serving)[::-1]
    best = [results.serving[name].best.figures for name in names]
    titles = [TITLES[name] for name in names]
    colours = [COLOURS.get(name, OTHER) for name in names]
    figure = Figure(figsize=(12, 4.4), layout="constrained")
    rates, latencies = figure.subplots(1, 2, sharey=True)

    bars = rates.barh(titles, [each.requests_per_second for each in best], color=colours)
    rates.bar_label(bars, [_rate(results, name) for name in names], padding=4)
    rates.set(xscale="log", title="requests a second (more is better)")
    rates.set_xlim(10, 20 * max(each.requests_per_second for each in best))

    latencies.barh(titles, [each.p50_ms for each in best], color=colours)
    bars = latencies.barh(titles, [each.p99_ms for each in best], color=colours, alpha=0.5)
    latencies.bar_label(bars, [f"{each.p50_ms:,.1f} / {each.p99_ms:,.1f}" for each in best], padding=4)
    latencies.set(xscale="log", title="latency in ms, p50 (dark) / p99 (light) (less is better)")
    latencies.set_xlim(0.1, 20 * max(each.p99_ms for each in best))

    for axes in (rates, latencies):
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"Iris, one flower a request: {results.computer.cores} cores, {results.date}")
    figure.savefig(file, dpi=120)


def _rate(results: Results, name: str) -> str:
    rate = f"{results.serving[name].best.figures.requests_per_second:,.0f}"
    digits = 0 if results.ratio("ours", name) >= 10 else 2
    return rate if name == "ours" else f"{rate}   ours: {results.ratio('ours', name):.{digits}f} x"
