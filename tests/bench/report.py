"""The results as Markdown, for a person to read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tests.bench.batch import ROWS, SERVED_ROWS
from tests.bench.forest import TREES
from tests.bench.load import CONNECTIONS
from tests.bench.results import Results
from tests.bench.serving import AGREEMENT, SECONDS, WARM_UP_SECONDS

TITLES = {
    "thesis": "the thesis's server",
    "mlserver": "MLServer, in process",
    "mlserver-pool": "MLServer, pool of processes",
    "ours": "ours",
    "ours-v2": "ours, asked as MLServer",
    "flask": "a constant, from Flask",
    "wsgi": "a constant, bare: the ceiling",
}


def markdown(results: Results) -> str:
    """The page."""
    parts = [_conditions(results), _serving(results), _goals(results), _rows(results), _machinery(results)]
    return "\n\n".join(parts) + "\n"


def _conditions(results: Results) -> str:
    computer = results.computer
    variables = "".join(f"; {name}={value}" for name, value in computer.variables.items())
    return (
        f"{results.date}; {computer.cores} cores ({computer.processor}), {computer.memory_gib} GiB, {computer.system}; "
        f"load average {computer.load_before:.1f} before and {computer.load_after:.1f} after{variables}.\n"
        f"{', '.join(f'{name} {version}' for name, version in results.versions.items())}."
    )


def _serving(results: Results) -> str:
    rows = []
    for name, measured in results.serving.items():
        best = measured.best.figures
        rounds = ", ".join(f"{each.figures.requests_per_second:,.0f}" for each in measured.rounds)
        disagreement = " (!)" if measured.spread > AGREEMENT else ""
        rows.append(
            (
                TITLES[name],
                f"{best.requests_per_second:,.0f}",
                f"{best.p50_ms:.1f}",
                f"{best.p99_ms:.1f}",
                str(sum(each.figures.errors for each in measured.rounds)),
                f"{measured.best.memory / 2**20:,.0f}",
                f"{results.ratio('ours', name):.2f}",
                f"{rounds}{disagreement}",
            )
        )
    header = ("server", "requests/s", "p50 ms", "p99 ms", "errors", "MiB", "ours / this", "requests/s by round")
    how = (
        f"Random forest of {TREES} trees, one flower a request, {CONNECTIONS} connections, by {results.generator}; "
        f"the best round of each server, a round being {SECONDS} s after {WARM_UP_SECONDS} s of warm-up."
    )
    doubt = (
        f"\n\n(!) The two best rounds are more than {AGREEMENT:.0%} apart: the computer was busy. Measure again."
        if any(measured.spread > AGREEMENT for measured in results.serving.values())
        else ""
    )
    return f"{how}\n\n{_table(header, rows)}{doubt}"


def _goals(results: Results) -> str:
    rows = [
        (
            f"{goal.figure}: {TITLES[goal.name]} / {TITLES[goal.other]}",
            goal.aim,
            f"{goal.found:.2f}",
            "met" if goal.met else "not met",
        )
        for goal in results.goals()
    ]
    return _table(("ratio", "goal", "found", ""), rows)


def _rows(results: Results) -> str:
    served = [(f"ours, {SERVED_ROWS:,} rows a POST of {kind}", rate) for kind, rate in results.served_rows.items()]
    local = [(f"{library}, {ROWS:,} rows in process", rate) for library, rate in results.library_rows.items()]
    return _table(("batch prediction", "rows/s"), [(name, f"{rate:,.0f}") for name, rate in served + local])


def _machinery(results: Results) -> str:
    found = results.machinery
    if isinstance(found, str):
        return f"The cost of the machinery was not measured: {found}."
    return (
        f"`pulumi up` with nothing to change: the stack {found.stack} {found.stack_seconds:.1f} s, an empty program "
        f"{found.empty_seconds:.1f} s ({found.stack_seconds / found.empty_seconds:.1f} times)."
    )


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """The first column is text, the others are figures."""
    rule = ["---", *("---:" for _ in header[1:])]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, rule, *rows))
