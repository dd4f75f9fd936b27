"""What pods say: their logs, why they do not start, how they ended."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any

from infra.dynamic_provider import UserError
from infra.kubernetes_client.client import KubernetesClient

TIME = re.compile(r"(.{19})(?:\.(\d+))?")
OVERLAP_SECONDS = 10
READ_SECONDS = 20


class PodLog:
    """The log of one pod, read in pieces that overlap; each line is given once."""

    def __init__(self) -> None:
        self._latest = ""
        self._read_at = 0.0

    def read(
        self, api: KubernetesClient, namespace: str, pod: str, container: str | None = None, *, ended: bool = False
    ) -> Iterator[str]:
        """The lines since the last time; none where the pod has not started or its node is away.

        One that has `ended` is asked with patience: its last lines, the result among them, are not looked for again.
        """
        from kubernetes.client import ApiException  # type: ignore[import-untyped]
        from urllib3.exceptions import HTTPError

        options: dict[str, Any] = {"timestamps": True, "_preload_content": False, "_request_timeout": READ_SECONDS}
        if container:
            options["container"] = container
        if seconds := self.since():
            options["since_seconds"] = seconds

        def text() -> str:
            return str(api.core.read_namespaced_pod_log(pod, namespace, **options).data.decode(errors="replace"))

        try:
            found = api.retry(text) if ended else text()
        except (ApiException, HTTPError, UserError):
            return  # the next look may tell, where there is one
        yield from self.fresh(found)

    def since(self) -> int | None:
        """How many seconds of the log to read; None for all of it."""
        return round(time.monotonic() - self._read_at) + OVERLAP_SECONDS if self._read_at else None

    def fresh(self, text: str) -> Iterator[str]:
        """The new lines among these, each of which stands after its time."""
        self._read_at = time.monotonic()
        for line in text.splitlines():
            time_text, _, said = line.partition(" ")
            if (at := _sortable(time_text)) > self._latest:
                self._latest = at
                yield said


def waiting_reasons(pod: Any) -> Iterator[str]:
    """Yield the reasons why a pod does not start, as the cluster reports them."""
    yield from (c.message for c in pod.status.conditions or [] if c.type == "PodScheduled" and c.message)
    for status in [*(pod.status.init_container_statuses or []), *(pod.status.container_statuses or [])]:
        if (waiting := status.state.waiting) and waiting.message:
            yield f"{waiting.reason}: {waiting.message}"


def exit_reasons(pod: Any) -> Iterator[str]:
    """Yield reason and exit code of each terminated container, such as OOMKilled."""
    for status in pod.status.container_statuses or []:
        if ended := status.state.terminated:
            yield f"{ended.reason} with exit code {ended.exit_code}"


def termination_messages(pod: Any) -> Iterator[str]:
    """Yield the termination message of each failed container, of its current or its previous start."""
    for status in [*(pod.status.init_container_statuses or []), *(pod.status.container_statuses or [])]:
        for ended in (status.state.terminated, status.last_state.terminated):
            if ended and ended.exit_code and ended.message:
                yield f"{status.name}: {ended.message.strip()}"
                break


def _sortable(at: str) -> str:
    """A time of RFC 3339 with all nine digits of a second's fraction, of which the API server leaves out zeros."""
    found = TIME.match(at)
    return f"{found[1]}.{(found[2] or '').ljust(9, '0')}" if found else ""
