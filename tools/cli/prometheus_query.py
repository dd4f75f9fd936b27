"""Queries to Prometheus for the served models and the firing alerts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from mlplatform.start_page.prometheus_api import PrometheusApi

DRIFT_THRESHOLD = 0.2
"""Population stability index (PSI) above which a feature has drifted."""
HIDDEN_LABELS = {"__name__", "alertname", "alertstate", "severity", "job"}
"""Labels of an alert that do not locate its cause."""


class Prometheus(PrometheusApi):
    """A Prometheus server that reports on the models and alerts of a stack."""

    def report(self) -> Iterator[str]:
        """Yield a line for each served model and each firing alert.

        Raises:
            PrometheusError: The server does not respond, or rejects the password.
        """
        yield from self._models()
        alerts = self.query('sort_desc(ALERTS{alertstate="firing"})')
        yield "  alerts: " + ("" if alerts else "none")
        for labels, _ in alerts:
            shown = ", ".join(f"{name} {value}" for name, value in sorted(labels.items()) if name not in HIDDEN_LABELS)
            yield f"    {labels['alertname']} ({labels['severity']}): {shown}"

    def _models(self) -> Iterator[str]:
        for labels, servers in self.query("count by (service, model, version) (model_server_model_info == 1)"):
            selector = f'{{service="{labels["service"]}"}}'
            rate = self._value(f"service:model_requests:rate5m{selector}")
            errors = self._value(f"service:model_errors:ratio5m{selector} >= 0")
            p99 = self._value(f"service:model_seconds:p99_5m{selector} >= 0")
            facts = [
                f"{servers:.0f} pod{'s' if servers != 1 else ''}",
                f"{rate or 0:.2f} requests/s",
                *([f"{errors:.2%} errors"] if errors is not None else []),
                *([f"p99 {p99 * 1000:.0f} ms"] if p99 is not None else []),
            ]
            yield f"  model {labels['model']} version {labels['version']}: {', '.join(facts)}"
            yield f"    drift: {self._drift(labels)}"

    def _drift(self, labels: Mapping[str, str]) -> str:
        series = f'{{service="{labels["service"]}",version="{labels["version"]}"}}'
        highest = self.query(f"topk(1, feature:model_input_psi:1h{series})")
        if not highest:
            return "unknown, too few rows in the last hour"
        feature, index = highest[0][0]["feature"], highest[0][1]
        comparison = "above" if index > DRIFT_THRESHOLD else "below"
        return f"PSI {index:.2f} ({feature}), {comparison} {DRIFT_THRESHOLD}"

    def _value(self, query: str) -> float | None:
        samples = self.query(query)
        return samples[0][1] if samples else None
