"""What Prometheus says of the served models, and which alerts there are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import requests

ANSWER_SECONDS = 5
DRIFTED = 0.2
TECHNICAL = {"__name__", "alertname", "alertstate", "severity", "job"}
"""Labels of an alert that do not tell where it is."""


class NoAnswer(Exception):
    """Prometheus cannot be asked; the message says why."""


@dataclass(frozen=True)
class Prometheus:
    """A server at `url`; the session has user and password."""

    url: str
    session: requests.Session

    def told(self) -> Iterator[str]:
        """A few lines.

        Raises:
            NoAnswer: it does not answer, or refuses the password.
        """
        yield from self._models()
        alerts = self._samples('sort_desc(ALERTS{alertstate="firing"})')
        yield "  alerts: " + ("" if alerts else "none")
        for labels, _ in alerts:
            where = ", ".join(f"{name} {value}" for name, value in sorted(labels.items()) if name not in TECHNICAL)
            yield f"    {labels['alertname']} ({labels['severity']}): {where}"

    def _models(self) -> Iterator[str]:
        for labels, servers in self._samples("count by (service, model, version) (model_server_model_info == 1)"):
            of = f'{{service="{labels["service"]}"}}'
            rate = self._value(f"service:model_requests:rate5m{of}")
            errors = self._value(f"service:model_errors:ratio5m{of} >= 0")
            p99 = self._value(f"service:model_seconds:p99_5m{of} >= 0")
            facts = [
                f"{servers:.0f} pod{'s' if servers != 1 else ''}",
                f"{rate or 0:.2f} requests/s",
                *([f"{errors:.2%} errors"] if errors is not None else []),
                *([f"p99 {p99 * 1000:.0f} ms"] if p99 is not None else []),
                self._drift(labels),
            ]
            yield f"  model {labels['model']} version {labels['version']}: {', '.join(facts)}"

    def _drift(self, labels: Mapping[str, str]) -> str:
        series = f'{{service="{labels["service"]}",version="{labels["version"]}"}}'
        found = self._samples(f"topk(1, feature:model_input_psi:1h{series})")
        if not found:
            return "drift: too few rows in the last hour to tell"
        feature, index = found[0][0]["feature"], found[0][1]
        return f"drift: PSI {index:.2f} ({feature}), {'above' if index > DRIFTED else 'below'} {DRIFTED}"

    def _value(self, query: str) -> float | None:
        found = self._samples(query)
        return found[0][1] if found else None

    def _samples(self, query: str) -> list[tuple[dict[str, str], float]]:
        try:
            answer = self.session.get(f"{self.url}/api/v1/query", params={"query": query}, timeout=ANSWER_SECONDS)
            answer.raise_for_status()
            result: list[dict[str, Any]] = answer.json()["data"]["result"]
        except (requests.RequestException, ValueError, KeyError) as error:
            raise NoAnswer(str(error)) from None
        return [(each["metric"], float(each["value"][1])) for each in result]
