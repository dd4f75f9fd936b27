"""Logs of pods, and the reasons why containers wait or exited."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any

from infra.errors import UserError
from infra.kubernetes_client.client import KubernetesClient

TIMESTAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?")
OVERLAP_SECONDS = 10
READ_SECONDS = 20


class PodLog:
    """The log of one pod, read in overlapping requests that yield each line once."""

    def __init__(self) -> None:
        self._latest = ""
        self._read_at = 0.0

    def read(
        self, api: KubernetesClient, namespace: str, pod: str, container: str | None = None, *, ended: bool = False
    ) -> Iterator[str]:
        """Yield the lines since the last call; no lines if the pod has not started or its node is unreachable.

        The log of a pod that has `ended` is read once, so that request is retried.
        """
        from kubernetes.client import ApiException  # type: ignore[import-untyped]
        from urllib3.exceptions import HTTPError

        options: dict[str, Any] = {"timestamps": True, "_preload_content": False, "_request_timeout": READ_SECONDS}
        if container:
            options["container"] = container
        if seconds := self.since_seconds():
            options["since_seconds"] = seconds

        def text() -> str:
            return str(api.core.read_namespaced_pod_log(pod, namespace, **options).data.decode(errors="replace"))

        try:
            log = api.retry(text) if ended else text()
        except (ApiException, HTTPError, UserError):
            return  # the next call reads these lines
        yield from self.new_lines(log)

    def since_seconds(self) -> int | None:
        """Return for how many seconds of the log the next call requests; None for all of it."""
        return round(time.monotonic() - self._read_at) + OVERLAP_SECONDS if self._read_at else None

    def new_lines(self, log: str) -> Iterator[str]:
        """Yield the lines of a log with timestamps that are later than all lines before, without timestamps."""
        self._read_at = time.monotonic()
        for line in log.split("\n"):  # a line may have other line ends
            time_text, _, text = line.partition(" ")
            if (timestamp := _sortable(time_text)) > self._latest:
                self._latest = timestamp
                yield text


def age_seconds(resource: Any) -> float:
    """Return the seconds since the creation of a pod or another resource."""
    return float(time.time() - resource.metadata.creation_timestamp.timestamp())


def waiting_reasons(pod: Any) -> Iterator[str]:
    """Yield the reasons why a pod has not started, in the cluster's words."""
    yield from (c.message for c in pod.status.conditions or [] if c.type == "PodScheduled" and c.message)
    for status in _container_statuses(pod):
        if (waiting := status.state.waiting) and waiting.message:
            yield f"{waiting.reason}: {waiting.message}"


def exit_reasons(pod: Any) -> Iterator[str]:
    """Yield reason and exit code of each container that has exited, such as OOMKilled."""
    for status in pod.status.container_statuses or []:
        if terminated := status.state.terminated:
            yield f"{terminated.reason} with exit code {terminated.exit_code}"


def termination_messages(pod: Any) -> Iterator[str]:
    """Yield the termination message of each failed container: of this run, or else of the run before."""
    for status in _container_statuses(pod):
        for terminated in (status.state.terminated, status.last_state.terminated):
            if terminated and terminated.exit_code and terminated.message:
                yield f"{status.name}: {terminated.message.strip()}"
                break


def _container_statuses(pod: Any) -> list[Any]:
    return [*(pod.status.init_container_statuses or []), *(pod.status.container_statuses or [])]


def _sortable(timestamp: str) -> str:
    """Return an RFC 3339 time with nine digits of the second's fraction; the API server omits trailing zeros."""
    match = TIMESTAMP.match(timestamp)
    return f"{match[1]}.{(match[2] or '').ljust(9, '0')}" if match else ""
