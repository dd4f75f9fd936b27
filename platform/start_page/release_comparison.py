"""Comparison of a canary with the champion, from the measurements of Prometheus over the same time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from mlplatform.start_page.prediction_paths import PREDICTION_PATHS
from mlplatform.start_page.prometheus_api import PrometheusApi, Sample

STABLE, CANARY = "stable", "canary"
"""Values of the label `track`: pods of the champion, and of the canary."""
REQUESTS = "model_server_requests_total"
SECONDS = "model_server_request_seconds"
UNKNOWN = "-"


@dataclass(frozen=True)
class MeasuredRelease:
    """Measurements of a track. Its error rate and latencies in seconds are None without requests."""

    version: str
    requests: float
    errors: float | None
    mean: float | None
    p99: float | None


@dataclass(frozen=True)
class ReleaseComparison:
    """Measurements of champion and canary over the same seconds.

    `compared` is the number of rows that both predicted, and `agreement` the share with the same prediction; None
    without such rows.
    """

    seconds: int
    champion: MeasuredRelease
    canary: MeasuredRelease
    compared: float
    agreement: float | None

    def rows(self) -> Iterator[tuple[str, str, str]]:
        """Yield for each measurement its name, and the texts of champion and canary."""
        shown: dict[str, Callable[[MeasuredRelease], str]] = {
            "version": lambda release: release.version or UNKNOWN,
            "requests": lambda release: f"{release.requests:,.0f}",
            "errors": lambda release: share(release.errors),
            "mean latency": lambda release: _milliseconds(release.mean),
            "99th percentile": lambda release: _milliseconds(release.p99),
        }
        for name, text in shown.items():
            yield name, text(self.champion), text(self.canary)
        yield "same predictions", UNKNOWN, self._agreement()

    def text(self) -> str:
        """Return the measurements in one line."""
        *named, (_, _, agreement) = list(self.rows())[1:]
        both = [f"{name} {canary} ({champion})" for name, champion, canary in named]
        return f"{', '.join(both)}, same predictions {agreement}; in brackets the champion, version " + (
            self.champion.version or "unknown"
        )

    def _agreement(self) -> str:
        return UNKNOWN if self.agreement is None else f"{share(self.agreement)} of {self.compared:,.0f} rows"


def compare_releases(prometheus: PrometheusApi, service: str, version: str, seconds: int) -> ReleaseComparison:
    """Return the comparison of the last seconds.

    Args:
        prometheus: the server with the measurements.
        service: the Service of the champion.
        version: the version of the canary.
        seconds: the time that the canary has served.

    Raises:
        PrometheusError: Prometheus does not respond.
    """
    of_service = f'service="{service}"'
    selector, window = f'{{{of_service},path=~"{PREDICTION_PATHS}"', f"[{seconds}s]"

    def by_track(query: str) -> dict[str, float]:
        return _by(prometheus.query(query), "track")

    requests = by_track(f"sum by (track) (increase({REQUESTS}{selector}}}{window}))")
    errors = by_track(f'sum by (track) (increase({REQUESTS}{selector},status=~"[45].."}}{window}))')
    total = by_track(f"sum by (track) (increase({SECONDS}_sum{selector}}}{window}))")
    p99 = by_track(
        f"histogram_quantile(0.99, sum by (track, le) (increase({SECONDS}_bucket{selector}}}{window})))",
    )
    info = prometheus.query(f"max by (track, version) (model_server_model_info{{{of_service}}}) == 1")
    versions = {labels["track"]: labels["version"] for labels, _ in info}
    champion = versions.get(STABLE, "")
    compared = _by(
        prometheus.query(
            "sum by (result) (increase(model_server_compared_rows_total"
            f'{{{of_service},version="{version}",champion="{champion}"}}{window}))'
        ),
        "result",
    )
    rows = sum(compared.values())

    def measured(track: str, served: str) -> MeasuredRelease:
        count = requests.get(track, 0.0)
        if not count:
            return MeasuredRelease(served, 0.0, None, None, None)
        return MeasuredRelease(
            served, count, errors.get(track, 0.0) / count, total.get(track, 0.0) / count, p99.get(track)
        )

    agreement = compared.get("same", 0.0) / rows if rows else None
    return ReleaseComparison(seconds, measured(STABLE, champion), measured(CANARY, version), rows, agreement)


def share(value: float | None) -> str:
    """Return a share in percent."""
    return UNKNOWN if value is None else f"{value:.2%}"


def _milliseconds(seconds: float | None) -> str:
    return UNKNOWN if seconds is None else f"{seconds * 1000:.1f} ms"


def _by(samples: Sequence[Sample], label: str) -> dict[str, float]:
    """Return the values that are numbers by a label."""
    return {labels[label]: value for labels, value in samples if label in labels and not math.isnan(value)}
