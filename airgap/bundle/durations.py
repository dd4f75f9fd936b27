"""Durations of steps on this computer, as expected times of the next runs."""

from __future__ import annotations

import json
from pathlib import Path

from tools.bootstrap.paths import cache_directory


def expected_seconds(step: str) -> float | None:
    """Return the duration of the step's last successful run, None without one."""
    return _read().get(step)


def record_duration(step: str, seconds: float) -> None:
    """Record the duration of a successful run. A concurrent record of another process may be lost."""
    file = _file()
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps(_read() | {step: round(seconds, 1)}, indent=1, sort_keys=True))
    partial.rename(file)


def format_duration(seconds: float) -> str:
    """Return the duration as text, such as `12 s` or `3 min 02 s`."""
    whole = round(seconds)
    return f"{whole // 60} min {whole % 60:02} s" if whole >= 60 else f"{whole} s"


def _file() -> Path:
    return cache_directory() / "durations.json"


def _read() -> dict[str, float]:
    try:
        return dict(json.loads(_file().read_text()))
    except (FileNotFoundError, ValueError):
        return {}
