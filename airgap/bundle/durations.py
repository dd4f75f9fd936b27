"""Durations of steps on this computer, as expected times of the next runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tools.bootstrap.atomic_install import replace_file
from tools.bootstrap.paths import cache_directory


@dataclass(frozen=True)
class Durations:
    """Durations of each step's last successful run, in a JSON file."""

    file: Path

    def expected(self, step: str) -> float | None:
        """Return the duration of the step's last successful run in seconds, None without one."""
        return self._read().get(step)

    def record(self, seconds: Mapping[str, float]) -> None:
        """Record durations of successful runs. One may be lost: to a concurrent record, or on a full disk."""
        with suppress(OSError):
            self._record(seconds)

    def _record(self, seconds: Mapping[str, float]) -> None:
        recorded = self._read() | {step: round(duration, 1) for step, duration in seconds.items()}
        replace_file(self.file, json.dumps(recorded, indent=1, sort_keys=True))

    def _read(self) -> dict[str, float]:
        try:
            return dict(json.loads(self.file.read_text()))
        except (FileNotFoundError, ValueError):
            return {}


def computer_durations() -> Durations:
    """Return the durations of builds and tests on this computer."""
    return Durations(cache_directory() / "durations.json")


def format_duration(seconds: float) -> str:
    """Return the duration as text, such as `12 s` or `3 min 02 s`."""
    whole = round(seconds)
    return f"{whole // 60} min {whole % 60:02} s" if whole >= 60 else f"{whole} s"


def format_elapsed(elapsed: float, expected: float | None) -> str:
    """Return elapsed and expected seconds as text, such as `12 s of about 40 s`."""
    return format_duration(elapsed) + (f" of about {format_duration(expected)}" if expected else "")
