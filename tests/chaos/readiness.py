"""Everything of a cluster that is not as it should be after a fault."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from typing import Any

from mlplatform.stores.postgresql import MEMBERS

from tests.lab.cluster import Cluster
from tests.lab.stores.test_replicated_stores import members
from tests.waiting import until

STABLE_SECONDS = 10
"""A node that was away for a short time looks Ready until its kubelet has updated its pods."""
READY_SECONDS = 420
"""Time for recovery. A kubelet whose disk was full refuses pods for five minutes after the disk has space again."""


def not_ready(cluster: Cluster) -> list[str]:
    """Return the nodes and pods that are not Ready, and a line if a member of the stores is missing."""
    try:
        return list(_not_ready(cluster))
    except (AssertionError, KeyError, subprocess.TimeoutExpired) as error:
        return [f"the cluster cannot be read: {error}"]


def _not_ready(cluster: Cluster) -> Iterator[str]:
    yield from (f"node {name}" for name, ready in cluster.nodes_ready().items() if not ready)
    for pod in cluster.get("pods", "-A", "--request-timeout=5s")["items"]:
        # Pods of pipelines start and end all the time.
        of_job = any(owner["kind"] == "Job" for owner in pod["metadata"].get("ownerReferences", []))
        if not of_job and pod["status"]["phase"] not in ("Succeeded", "Failed") and not _is_ready(pod):
            yield f"pod {pod['metadata']['namespace']}/{pod['metadata']['name']}"
    if (found := members(cluster)) != MEMBERS:
        yield f"{found} of {MEMBERS} members of PostgreSQL have the leader's data"


def _is_ready(pod: dict[str, Any]) -> bool:
    return any(each["type"] == "Ready" and each["status"] == "True" for each in pod["status"].get("conditions", []))


def wait_until_ready(cluster: Cluster) -> float:
    """Wait until everything has been Ready for ten seconds, and return the seconds until it became so."""
    begin = since = time.monotonic()
    missing = [""]

    def stable() -> bool:
        nonlocal since
        missing[:] = not_ready(cluster)
        if missing:
            since = time.monotonic()
        return time.monotonic() - since >= STABLE_SECONDS

    try:
        until(stable, seconds=READY_SECONDS, what="the recovery")
    except AssertionError as error:
        raise AssertionError(f"{error}: {'; '.join(missing)}") from None
    return since - begin
