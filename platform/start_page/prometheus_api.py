"""Queries to Prometheus over its HTTP API."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import requests

TIMEOUT_SECONDS = 5
Sample = tuple[dict[str, str], float]
"""Labels and value of a sample."""


class PrometheusError(Exception):
    """A query without a result: Prometheus does not respond, or rejects the request."""


@dataclass(frozen=True)
class PrometheusApi:
    """A Prometheus server at `url`; the session holds user and password."""

    url: str
    session: requests.Session

    def query(self, query: str) -> list[Sample]:
        """Return the samples of an instant query.

        Raises:
            PrometheusError: the server does not respond, or rejects the password.
        """
        try:
            response = self.session.get(f"{self.url}/api/v1/query", params={"query": query}, timeout=TIMEOUT_SECONDS)
            response.raise_for_status()
            result: list[dict[str, Any]] = response.json()["data"]["result"]
        except (requests.RequestException, ValueError, KeyError) as error:
            raise PrometheusError(str(error)) from None
        return [(sample["metric"], float(sample["value"][1])) for sample in result]


def prometheus_api(url: str, username: str, password: str) -> PrometheusApi:
    """Return the server at a URL with its login."""
    session = requests.Session()
    session.auth = (username, password)
    return PrometheusApi(url, session)
