"""The results as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tests.bench.batch import BASE, ROWS, SERVED_ROWS
from tests.bench.forest import TREES
from tests.bench.http.in_cluster import InCluster
from tests.bench.http.load import CONNECTIONS
from tests.bench.http.serving import AGREEMENT, SECONDS, WARM_UP_SECONDS
from tests.bench.results import Computer, Results

TITLES = {
    "thesis": "the thesis's server",
    "mlserver": "MLServer, in process",
    "mlserver-pool": "MLServer, pool of processes",
    "ours": "ours",
    "ours-v2": "ours, with V2 requests",
    "flask": "a constant, from Flask",
    "wsgi": "a constant, bare: the ceiling",
    "nginx": "a constant, from nginx",
    "door": "ours, through the door with a token",
}


def markdown(results: Results) -> str:
    """Return the page of the results."""
    about = f"{', '.join(f'{name} {version}' for name, version in results.versions.items())}."
    conditions = f"{_conditions(results.date, results.computer)}\n{about}"
    parts = [conditions, _serving(results), _goals(results), _rows(results), _door(results), _machinery(results)]
    return "\n\n".join(parts) + "\n"


def in_cluster_markdown(found: InCluster, computer: Computer, date: str, generator: str) -> str:
    """Return the page of the results of a stack in a cluster."""
    best = [max(rounds, key=lambda each: each.requests_per_second) for rounds in (found.service, found.here)]
    ratio = best[0].requests_per_second / best[1].requests_per_second
    titles = (f"through the Service of {found.stack}", "the same server on this computer")
    served = [
        (
            title,
            f"{each.requests_per_second:,.0f}",
            f"{each.p50_ms:.1f}",
            f"{each.p99_ms:.1f}",
            str(sum(one.errors for one in rounds)),
            f"{share:.2f}",
            ", ".join(f"{one.requests_per_second:,.0f}" for one in rounds),
        )
        for title, each, rounds, share in zip(titles, best, (found.service, found.here), (ratio, 1.0), strict=True)
    ]
    how = (
        f"The stack's champion, one flower a request, {CONNECTIONS} connections, by {generator}; the best of "
        f"{len(found.here)} rounds that take turns, a round being {SECONDS} s after {WARM_UP_SECONDS} s of warm-up."
    )
    header = ("server", "requests/s", "p50 ms", "p99 ms", "errors", "ratio", "requests/s by round")
    ran = [
        (
            name,
            str(run.steps),
            f"{run.own:.1f}",
            f"{run.here:.1f} ({run.here / run.own:.1f} x)",
            f"{run.there:.1f} ({run.there / run.own:.1f} x)",
            f"{run.over_own:.1f}",
        )
        for name, run in found.runs.items()
    ]
    titled = (
        "pipeline",
        "steps",
        "its steps' own compute, s",
        "on this computer, s",
        f"engine {found.engine}, s",
        f"{found.engine}: over their own, s a step",
    )
    parts = [_conditions(date, computer), how, _table(header, served), _table(titled, ran)]
    return "\n\n".join(parts) + "\n"


def _conditions(date: str, computer: Computer) -> str:
    variables = "".join(f"; {name}={value}" for name, value in computer.variables.items())
    return (
        f"{date}; {computer.cores} cores ({computer.processor}), {computer.memory_gib} GiB, {computer.system}; "
        f"load average {computer.load_before:.1f} before and {computer.load_after:.1f} after{variables}."
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
            f"{goal.figure}: {TITLES.get(goal.name, goal.name)} / {TITLES.get(goal.other, goal.other)}",
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
    base = results.library_rows[BASE]
    rows = [(name, f"{rate:,.0f}", f"{rate / base:.2f}") for name, rate in served + local]
    return _table(("batch prediction", "rows/s", f"this / {BASE}"), rows)


def _door(results: Results) -> str:
    if isinstance(results.door, str):
        return f"The cost of the door was not measured: {results.door}."
    rows = [
        (str(number), f"{each.alone:,.0f}", f"{each.through:,.0f}", f"{each.ratio:.2f}")
        for number, each in enumerate(results.door, start=1)
    ]
    return _table(("round", "ours, requests/s", "through the door with a token, requests/s", "ratio"), rows)


def _machinery(results: Results) -> str:
    found = results.machinery
    if isinstance(found, str):
        return f"The cost of the machinery was not measured: {found}."
    return (
        f"`pulumi up` with nothing to change: the stack {found.stack} {found.stack_seconds:.1f} s, an empty program "
        f"{found.empty_seconds:.1f} s ({found.stack_seconds / found.empty_seconds:.1f} times)."
    )


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table whose first column is text, and whose other columns are figures."""
    rule = ["---", *("---:" for _ in header[1:])]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, rule, *rows))
