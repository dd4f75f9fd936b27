"""Measure serving, batch prediction and the cost of `pulumi up`, each next to its reference.

Figures never change the exit code; only a failed measurement does. Figures go to standard output. The folder `bench` of
the cache folder receives them with a plot.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from infra.dynamic_provider import UserError
from tests.bench import batch, door, machinery
from tests.bench.forest import Forest, train
from tests.bench.http import in_cluster, mlserver_environment, serving
from tests.bench.http.load import generator
from tests.bench.machinery import Machinery, NotMeasured
from tests.bench.plot import draw
from tests.bench.report import in_cluster_markdown, markdown
from tests.bench.results import Computer, Results, versions
from tools.bootstrap import paths
from tools.bootstrap.console import SetupError, log_message, step
from tools.cli.pulumi_command import Pulumi, PulumiError


def main() -> int:
    """Run all measurements, in about three minutes; longer if the rounds differ.

    Where the environment variable STACK names a stack in a cluster, what that takes on top is measured instead.
    """
    folder = paths.cache_directory() / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    load_before = os.getloadavg()[0]
    pulumi = Pulumi(os.environ.get("STACK", "dev"))
    try:
        outputs = _outputs(pulumi)
        if "kubeconfig" in outputs:
            measured = in_cluster.measure(pulumi, outputs, folder)
            page = in_cluster_markdown(measured, Computer.this(load_before), _now(), generator())
            name, figures = f"results-{pulumi.stack}", asdict(measured)
        else:
            results = _on_this_computer(pulumi, outputs, folder, load_before)
            page, name, figures = markdown(results), "results", results.as_json()
            draw(results, folder / "results.png")
    except (SetupError, UserError, PulumiError, RuntimeError) as error:
        log_message(f"Error: {error}")
        return 1
    (folder / f"{name}.md").write_text(page)
    (folder / f"{name}.json").write_text(json.dumps(figures, indent=2) + "\n")
    sys.stdout.write(page)
    log_message(f"In files, too: {folder}")
    return 0


def _on_this_computer(pulumi: Pulumi, outputs: Mapping[str, Any], folder: Path, load_before: float) -> Results:
    mlserver = mlserver_environment.install()
    forest = train(folder)
    measured = serving.measure(forest, mlserver, folder)
    with step("Batch prediction"):
        served, by_library = batch.through_the_server(forest, folder), batch.in_this_process(forest)
        wide_ratios = batch.wide_ratios(folder)
    return Results(
        date=_now(),
        computer=Computer.this(load_before),
        versions=versions(mlserver),
        generator=generator(),
        serving=measured,
        served_rows=served,
        library_rows=by_library,
        wide_ratios=wide_ratios,
        door=_door(forest, folder),
        machinery=_machinery(pulumi, outputs),
    )


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")


def _outputs(pulumi: Pulumi) -> dict[str, Any]:
    """Return the outputs of the stack, {} if it is not up."""
    try:
        outputs: dict[str, Any] = json.loads(pulumi.output("stack", "output", "--json"))
    except (FileNotFoundError, PulumiError):
        return {}
    return outputs


def _door(forest: Forest, folder: Path) -> list[door.DoorRound] | str:
    try:
        return door.measure(forest, folder)
    except NotMeasured as error:
        return str(error)


def _machinery(pulumi: Pulumi, outputs: Mapping[str, Any]) -> Machinery | str:
    try:
        with step("The cost of the machinery"):
            return machinery.measure(pulumi, up=bool(outputs))
    except NotMeasured as error:
        return str(error)
