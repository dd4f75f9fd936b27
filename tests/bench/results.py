"""Results of one run of the benchmark, and their comparison with the goals."""

from __future__ import annotations

import os
import platform
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from tests.bench.batch import BASE, OURS, SERVED_ROWS
from tests.bench.door import DoorRound
from tests.bench.http.serving import Measured
from tests.bench.machinery import Machinery

LIBRARIES = ("flask", "granian", "onnxruntime", "scikit-learn", "numpy")
STEERING = ("OPENBLAS_", "OMP_", "MKL_")
"""Prefixes of environment variables that change the speed of the numerical libraries."""


@dataclass(frozen=True)
class Computer:
    """The measured computer, with its load average before and after the run."""

    system: str
    processor: str
    cores: int
    memory_gib: int
    load_before: float
    load_after: float
    variables: dict[str, str]

    @classmethod
    def this(cls, load_before: float) -> Computer:
        """Return a description of this computer. Call it after the measurements."""
        return cls(
            system=f"{platform.system()} {platform.release()}",
            processor=_processor(),
            cores=os.cpu_count() or 1,
            memory_gib=round(psutil.virtual_memory().total / 2**30),
            load_before=load_before,
            load_after=os.getloadavg()[0],
            variables={name: value for name, value in os.environ.items() if name.startswith(STEERING)},
        )


@dataclass(frozen=True)
class Goal:
    """A ratio between two servers: the goal, the measured value, and whether the goal is met."""

    name: str
    other: str
    figure: str
    aim: str
    found: float
    met: bool


@dataclass(frozen=True)
class Results:
    """All results.

    `served_rows` and `library_rows` are rows a second by predictor. `wide_ratios` are those of a forest of 30 features
    to scikit-learn, in several runs. `door` and `machinery` are the reason if they were not measured.
    """

    date: str
    computer: Computer
    versions: dict[str, str]
    generator: str
    serving: dict[str, Measured]
    served_rows: dict[str, float]
    library_rows: dict[str, float]
    wide_ratios: list[float]
    door: list[DoorRound] | str
    machinery: Machinery | str

    def ratio(self, name: str, other: str) -> float:
        """Return the requests a second of one server over those of another."""
        one, two = (self.serving[server].best.figures for server in (name, other))
        return one.requests_per_second / two.requests_per_second

    def goals(self) -> list[Goal]:
        """Return the goals of the model server.

        MLServer is compared in its default and its fastest configuration, rows a second with scikit-learn's `predict`.
        """
        return [
            self._rate("ours", "thesis", 50),
            self._rate("ours", "mlserver", 40),
            self._rate("ours", "mlserver-pool", 40),
            self._rate("ours-v2", "mlserver-pool", 40),
            self._rate("ours", "wsgi", 0.8),
            self._p99("ours", "thesis"),
            self._p99("ours", "mlserver"),
            self._p99("ours", "mlserver-pool"),
            self._rows("in process", self.library_rows[OURS], 5),
            self._wide(5),
            *(self._rows(f"{SERVED_ROWS:,} a POST of {kind}", rate, 2.5) for kind, rate in self.served_rows.items()),
            *([] if isinstance(self.door, str) else [self._door(self.door, 0.7)]),
        ]

    def _rate(self, name: str, other: str, least: float) -> Goal:
        found = self.ratio(name, other)
        return Goal(name, other, "requests/s", f"at least {least}", found, found >= least)

    def _rows(self, what: str, rate: float, least: float) -> Goal:
        found = rate / self.library_rows[BASE]
        return Goal("ours", BASE, f"rows/s, {what}", f"at least {least}", found, found >= least)

    def _wide(self, least: float) -> Goal:
        found = min(self.wide_ratios)
        return Goal("ours", BASE, "rows/s, 30 features, in process", f"at least {least}", found, found >= least)

    def _door(self, rounds: list[DoorRound], least: float) -> Goal:
        found = min(each.ratio for each in rounds)
        return Goal("door", "ours", "requests/s", f"at least {least}", found, found >= least)

    def _p99(self, name: str, other: str) -> Goal:
        one, two = (self.serving[server].best.figures.p99_ms for server in (name, other))
        return Goal(name, other, "p99", "below 1", one / two, one < two)

    def as_json(self) -> dict[str, Any]:
        """Return the results and the goals as plain data."""
        return asdict(self) | {"goals": [asdict(goal) for goal in self.goals()]}


def versions(mlserver: Path) -> dict[str, str]:
    """Return the versions of Python and the measured libraries; `mlserver` is MLServer's virtual environment."""
    (installed,) = mlserver.glob("lib/python3.*/site-packages/mlserver-*.dist-info")
    found = {"Python": platform.python_version()} | {name: version(name) for name in LIBRARIES}
    return found | {"MLServer": installed.stem.removeprefix("mlserver-")}


def _processor() -> str:
    """Return the name of the processor, or the architecture if the system does not expose the name."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text().splitlines() if file.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
