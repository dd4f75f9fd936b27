"""Indexed Jobs of a run: one for each loop, with a pod for each iteration."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from functools import partial
from typing import Any, TextIO

import pulumi

from infra.kubernetes_client.client import KubernetesClient
from infra.kubernetes_client.pod_logs import age_seconds, waiting_reasons
from workloads.engines.base import RunRequest
from workloads.engines.job.job_manifests import loop_manifest
from workloads.engines.job.job_status import PENDING_SECONDS, condition, exits_with_limits, newest, pods_of
from workloads.engines.job.pod_follower import PodFollower
from workloads.engines.pod_entrypoint import REPORTED_FAILURE
from workloads.engines.pod_loops import LoopPods
from workloads.engines.step_progress import StepProgress

INDEX = "batch.kubernetes.io/job-completion-index"


class LoopJobs:
    """Jobs of the loops of one run.

    Args:
        namespace: the namespace of the run.
        request: the run.
        image: the image of its pods.
        progress: the progress of the run.
        out: the log of the run.
    """

    def __init__(
        self,
        api: KubernetesClient,
        namespace: str,
        request: RunRequest,
        image: str,
        progress: StepProgress,
        out: TextIO,
    ) -> None:
        self._api, self._namespace = api, namespace
        self._request, self._image = request, image
        self._progress, self._out = progress, out
        self._followers: dict[str, PodFollower] = {}
        self._read: set[str] = set()
        self._warnings: set[str] = set()
        self._names: set[str] = set()

    def update(self, run_job: Any, loops: Iterable[LoopPods]) -> tuple[str | None, str] | None:
        """Create the Jobs that do not exist, and copy the new lines of their pods' logs.

        Args:
            run_job: the Job of the run.
            loops: the loops for which the run needs pods.

        Returns:
            The last step and the error of an iteration that ended without a result; None without one.
        """
        read = self._api.batch.read_namespaced_job
        for loop in loops:
            name = f"{self._request.pipeline[:25]}-{self._request.key[:16]}-{loop.loop}"
            self._names.add(name)
            job = self._api.none_if_missing(partial(read, name, self._namespace))
            if job is None:
                self._create(loop_manifest(name, run_job, self._request, self._image, loop))
            elif failure := self._follow(job):
                return failure
        return None

    def delete(self) -> None:
        """Delete the Jobs and their pods."""
        delete = partial(self._api.batch.delete_namespaced_job, propagation_policy="Background")
        for name in self._names:
            self._api.none_if_missing(partial(delete, name, self._namespace))

    def _create(self, manifest: dict[str, Any]) -> None:
        create = self._api.batch.create_namespaced_job
        self._api.none_if_exists(lambda: create(self._namespace, manifest))

    def _follow(self, job: Any) -> tuple[str | None, str] | None:
        of_index: dict[int, list[Any]] = defaultdict(list)
        for pod in pods_of(self._api, job):
            of_index[int(pod.metadata.annotations[INDEX])].append(pod)
        for index, pods in sorted(of_index.items()):
            self._copy_log(newest(pods), self._follower(job, index))
        if not condition(job, "Failed"):
            return None
        for index in indices(job.status.failed_indexes):
            pod = newest(of_index[index])
            if pod is None or not _reported(pod):
                follower = self._follower(job, index)
                reason = f"iteration {index} of a loop ended without a result: its pod was lost too often"
                return follower.step or None, "\n".join([reason, *exits_with_limits(pod), *follower.last_lines])
        return None

    def _follower(self, job: Any, index: int) -> PodFollower:
        return self._followers.setdefault(f"{job.metadata.name}-{index}", PodFollower(self._progress, self._out))

    def _copy_log(self, pod: Any, follower: PodFollower) -> None:
        name, phase = pod.metadata.name, pod.status.phase
        if name in self._read:
            return
        ended = phase in ("Succeeded", "Failed")
        follower.process(follower.log_of(name).read(self._api, self._namespace, name, ended=ended))
        if ended:
            self._read.add(name)
        if phase == "Pending" and age_seconds(pod) > PENDING_SECONDS:  # other iterations may have to end before
            for reason in set(waiting_reasons(pod)) - self._warnings:
                self._warnings.add(reason)
                pulumi.log.warn(f"the pod {self._namespace}/{name} waits: {reason}")


def indices(text: str | None) -> list[int]:
    """Return the indices in the text form of an indexed Job, such as `1,3-5`."""
    found: list[int] = []
    for part in (text or "").split(","):
        first, _, last = part.partition("-")
        if first:
            found += range(int(first), int(last or first) + 1)
    return found


def _reported(pod: Any) -> bool:
    """Return True if the iteration stored its result."""
    states = [status.state.terminated for status in pod.status.container_statuses or []]
    return any(terminated and terminated.exit_code == REPORTED_FAILURE for terminated in states)
