"""Requests a second, latency and memory of each server. The servers take turns in rounds."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from tests.bench.forest import FLOWERS, Forest
from tests.bench.http.contenders import contenders
from tests.bench.http.load import Figures, load
from tests.bench.http.servers import Server, memory, require_right_answers, running
from tools.bootstrap.console import step

WARM_UP_SECONDS = 3
SECONDS = 8
LEAST_ROUNDS, MOST_ROUNDS = 2, 4
AGREEMENT = 0.2
"""Rounds are added while the two best rounds of a server differ by more than this share of the best."""


@dataclass(frozen=True)
class Round:
    """A load of one server after a restart; `memory` is in bytes, at the end of the load."""

    figures: Figures
    memory: int


@dataclass(frozen=True)
class Measured:
    """All rounds of one server."""

    rounds: list[Round]

    @property
    def best(self) -> Round:
        """Return the round with the most requests a second, which other processes disturbed least."""
        return max(self.rounds, key=lambda each: each.figures.requests_per_second)

    @property
    def spread(self) -> float:
        """Return the difference between the two best rounds, as a share of the best."""
        second, first = sorted(each.figures.requests_per_second for each in self.rounds)[-2:]
        return 1 - second / first


def measure(forest: Forest, mlserver: Path, folder: Path) -> dict[str, Measured]:
    """Measure all contenders, by name; `folder` receives their logs."""
    measured: dict[str, Measured] = {}
    for number in range(1, MOST_ROUNDS + 1):
        for server in contenders(forest, mlserver):
            with step(f"Round {number}: {server.name}"):
                measured.setdefault(server.name, Measured([])).rounds.append(_round(server, forest, folder))
        if number >= LEAST_ROUNDS and all(each.spread <= AGREEMENT for each in measured.values()):
            break
    return measured


def _round(server: Server, forest: Forest, folder: Path) -> Round:
    bodies = folder / f"{server.name}.jsonl"
    bodies.write_text("".join(json.dumps(server.body(flower)) + "\n" for flower in FLOWERS))
    with running(server, folder) as process:
        require_right_answers(server, forest)
        load(server.url, bodies, WARM_UP_SECONDS)
        return Round(load(server.url, bodies, SECONDS), memory(process))
