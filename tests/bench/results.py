"""All that one run of the benchmark found, and what it says of the goals."""

from __future__ import annotations

import os
import platform
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from tests.bench.machinery import Machinery
from tests.bench.serving import Measured

LIBRARIES = ("flask", "granian", "onnxruntime", "scikit-learn", "numpy")
STEERING = ("OPENBLAS_", "OMP_", "MKL_")
"""Environment variables that begin so change how fast the numerical libraries are."""


@dataclass(frozen=True)
class Computer:
    """Where it was measured, and how busy that was besides: its load average before and after."""

    system: str
    processor: str
    cores: int
    memory_gib: int
    load_before: float
    load_after: float
    variables: dict[str, str]

    @classmethod
    def this(cls, load_before: float) -> Computer:
        """This one, now that all is measured."""
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
    """A figure of one server over that of another: what was aimed at, what was found, and whether it will do."""

    name: str
    other: str
    figure: str
    aim: str
    found: float
    met: bool


@dataclass(frozen=True)
class Results:
    """`served_rows` and `library_rows`: rows a second by what predicted them; `machinery` may be why there is none."""

    date: str
    computer: Computer
    versions: dict[str, str]
    generator: str
    serving: dict[str, Measured]
    served_rows: dict[str, float]
    library_rows: dict[str, float]
    machinery: Machinery | str

    def ratio(self, name: str, other: str) -> float:
        """How many times as many requests a second one server answers as the other."""
        one, two = (self.serving[server].best.figures for server in (name, other))
        return one.requests_per_second / two.requests_per_second

    def goals(self) -> list[Goal]:
        """Those that were set for the model server, for MLServer as it is set up most simply and as it is fastest."""
        return [
            self._rate("ours", "thesis", 50),
            self._rate("ours", "mlserver", 40),
            self._rate("ours", "mlserver-pool", 40),
            self._rate("ours-v2", "mlserver-pool", 40),
            self._rate("ours", "wsgi", 0.6),
            self._p99("ours", "thesis"),
            self._p99("ours", "mlserver"),
            self._p99("ours", "mlserver-pool"),
        ]

    def _rate(self, name: str, other: str, least: float) -> Goal:
        found = self.ratio(name, other)
        return Goal(name, other, "requests/s", f"at least {least}", found, found >= least)

    def _p99(self, name: str, other: str) -> Goal:
        one, two = (self.serving[server].best.figures.p99_ms for server in (name, other))
        return Goal(name, other, "p99", "below 1", one / two, one < two)

    def as_json(self) -> dict[str, Any]:
        """All of it, with the goals."""
        return asdict(self) | {"goals": [asdict(goal) for goal in self.goals()]}


def versions(mlserver: Path) -> dict[str, str]:
    """Of Python and what is measured; `mlserver` is the virtual environment of MLServer."""
    (installed,) = mlserver.glob("lib/python3.*/site-packages/mlserver-*.dist-info")
    found = {"Python": platform.python_version()} | {name: version(name) for name in LIBRARIES}
    return found | {"MLServer": installed.stem.removeprefix("mlserver-")}


def _processor() -> str:
    """The processor's name, where the system tells it."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text().splitlines() if file.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
