"""Measures serving, batch prediction and the cost of the machinery, each side by side with what it is compared to.

A failed comparison is an error; a slow one is not: the figures go to standard output and, with a plot, to the folder
`bench` of the cache folder, and the exit code is 0 whatever they are.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime

from tests.bench import batch, machinery, mlserver_environment, serving
from tests.bench.forest import train
from tests.bench.load import generator
from tests.bench.machinery import Machinery, NotMeasured
from tests.bench.plot import draw
from tests.bench.report import markdown
from tests.bench.results import Computer, Results, versions
from tools import cache
from tools.steps import BootstrapError, say, step


def main() -> int:
    """Run it all; takes about three minutes, more where the rounds disagree."""
    folder = cache.directory() / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    load_before = os.getloadavg()[0]
    try:
        mlserver = mlserver_environment.install()
        forest = train(folder)
        measured = serving.measure(forest, mlserver, folder)
        with step("Batch prediction"):
            served, by_library = batch.through_the_server(forest, folder), batch.in_this_process(forest)
    except (BootstrapError, RuntimeError) as error:
        say(f"Error: {error}")
        return 1
    results = Results(
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        computer=Computer.this(load_before),
        versions=versions(mlserver),
        generator=generator(),
        serving=measured,
        served_rows=served,
        library_rows=by_library,
        machinery=_machinery(),
    )
    page = markdown(results)
    (folder / "results.md").write_text(page)
    (folder / "results.json").write_text(json.dumps(results.as_json(), indent=2) + "\n")
    draw(results, folder / "results.png")
    sys.stdout.write(page)
    say(f"As JSON and as a plot: {folder}")
    return 0


def _machinery() -> Machinery | str:
    try:
        with step("The cost of the machinery"):
            return machinery.measure()
    except NotMeasured as error:
        return str(error)
