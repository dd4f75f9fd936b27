"""The report of a table as HTML: columns, distributions, missing values, correlations and suspicions."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from workloads.ml.data.columns import Column, ColumnType
from workloads.ml.data.encoding import ColumnSchema
from workloads.ml.data.findings import explained_share
from workloads.ml.data.table import Table

MOST_COLUMNS = 100
MOST_CORRELATIONS = 20
MOST_BARS = 20
STYLE = (
    "body{font-family:sans-serif;margin:2em}table{border-collapse:collapse}"
    "td,th{padding:.2em .8em;border-bottom:1px solid #ddd;text-align:left}"
    "i{display:inline-block;width:6px;background:#4a7ebb;margin-right:1px;vertical-align:bottom}"
    "li.warning{color:#a00}"
)


def data_page(table: Table, suspicions: Sequence[str]) -> str:
    """Return the report; of a wide table, it shows the first columns."""
    about = table.description
    unit = f" in {about['unit']}" if about["unit"] else ""
    target = f"{', '.join(about['targets'])}{unit}"
    facts = [f"{about['rows']} rows, {len(table.features)} features, {about['task']} of {target}", *table.decisions]
    if len(table.rows) < about["rows"]:
        facts.append(f"The figures below and the warnings are those of {len(table.rows)} rows, a random sample.")
    notes = [f'<li class="warning">{escape(line)}</li>' for line in suspicions]
    notes += [f"<li>{escape(line)}</li>" for line in facts]
    if len(table.features) > MOST_COLUMNS:
        notes.append(f"<li>The tables show the first {MOST_COLUMNS} features.</li>")
    rows = "".join(
        _feature_row(schema, column, explained_share(column, schema["type"], table))
        for schema, column in list(zip(table.columns, table.rows.T, strict=True))[:MOST_COLUMNS]
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Data</title><style>{STYLE}</style>'
        f"<h1>Data</h1><ul>{''.join(notes)}</ul><h2>Target</h2>{_target(table)}"
        "<h2>Features</h2><table><tr><th>feature</th><th>type</th><th>missing</th><th>least</th><th>mean</th>"
        f"<th>largest</th><th>explains</th><th>distribution</th></tr>{rows}</table>"
        f"<h2>Largest correlations</h2>{_correlations(table)}</html>\n"
    )


def _feature_row(schema: ColumnSchema, column: Column, explained: float) -> str:
    present = column[~np.isnan(column)]
    missing = f"{1 - len(present) / len(column):.1%}" if len(present) < len(column) else ""
    if schema["type"] == ColumnType.CATEGORY:
        numbers = ["", "", ""]
        counts = np.bincount(present.astype(np.int64), minlength=len(schema["categories"]))[:MOST_BARS]
        title = ", ".join(schema["categories"][:MOST_BARS])
    elif not len(present):
        numbers, counts, title = ["", "", ""], np.zeros(1, np.int64), "no values"
    else:
        numbers = [f"{value:.6g}" for value in (present.min(), present.mean(dtype=np.float64), present.max())]
        counts = np.histogram(present.astype(np.float64), bins=MOST_BARS)[0]
        title = f"{numbers[0]} to {numbers[2]}"
    cells = [schema["name"], schema["type"], missing, *numbers, f"{max(explained, 0):.0%}"]
    return f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}<td>{_bars(counts.tolist(), title)}</td></tr>"


def _target(table: Table) -> str:
    if table.classes:
        counts = np.bincount(table.labels, minlength=len(table.classes))
        rows = zip(table.classes, counts.tolist(), strict=True)
        lines = "".join(f"<tr><td>{escape(name)}</td><td>{count}</td></tr>" for name, count in rows)
        return f"<table><tr><th>class</th><th>rows</th></tr>{lines}</table>"
    values = table.labels.reshape(len(table.labels), -1).T
    return "".join(
        f"<p>{escape(name)}: {column.min():.6g} to {column.max():.6g}, mean {column.mean():.6g} "
        f"{_bars(np.histogram(column, bins=MOST_BARS)[0].tolist(), name)}</p>"
        for name, column in zip(table.description["targets"], values, strict=True)
    )


def _bars(counts: Sequence[int], title: str) -> str:
    largest = max([*counts, 1])
    bars = "".join(f'<i style="height:{max(round(30 * count / largest), 1)}px"></i>' for count in counts)
    return f'<span title="{escape(title)}">{bars}</span>'


def _correlations(table: Table) -> str:
    """Return the pairs of ordered features with the largest correlation, of the rows in which both are present."""
    import pandas as pd

    kinds = zip(table.columns[:MOST_COLUMNS], table.rows.T, strict=False)
    ordered = {
        schema["name"]: column.astype(np.float64)
        for schema, column in kinds
        if schema["type"] != ColumnType.CATEGORY and len(np.unique(column[~np.isnan(column)])) > 1
    }
    matrix = pd.DataFrame(ordered).corr().to_numpy()
    first, second = np.triu_indices(len(ordered), 1)
    strength = np.nan_to_num(np.abs(matrix[first, second]))
    names = list(ordered)
    lines = "".join(
        f"<tr><td>{escape(names[first[index]])}</td><td>{escape(names[second[index]])}</td>"
        f"<td>{matrix[first[index], second[index]]:.2f}</td></tr>"
        for index in np.argsort(-strength, kind="stable")[:MOST_CORRELATIONS]
    )
    return f"<table>{lines}</table>" if lines else "<p>none</p>"
