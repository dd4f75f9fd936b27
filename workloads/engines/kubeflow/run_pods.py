"""Pods of a run: the logs of its steps, the reasons of pending pods, the errors of failed pods."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any, TextIO

from infra.kubernetes_client.client import KubernetesClient
from infra.kubernetes_client.pod_logs import PodLog, age_seconds, exit_reasons, waiting_reasons
from workloads.engines.dag.run_log import COLOUR, ERROR_LINES, EXECUTOR_PREFIX, INPUT_DUMP

RUN_LABEL = "pipeline/runid"
MAIN_CONTAINER = "main"
"""Argo's name for the container with the step or the driver."""
PENDING_SECONDS = 180
"""Timeout for a pending pod: a slow registry needs some time for an image."""
LAUNCHER_LINE = re.compile(r"[IWEF]\d{4} \d\d:\d\d:\d\d\.\d+ +\d+ [\w.-]+\.go:\d+\] ")
ARGO_LINE = re.compile(r"time=\S+ level=|Error: exit status \d+$")


class RunPods:
    """Pods of one run; each line of a step's log is copied to `out` once, after the name of its step.

    A driver is a pod that prepares a step or a condition. Its log is copied only if it fails.
    """

    def __init__(self, api: KubernetesClient, namespace: str, run_id: str, out: TextIO) -> None:
        self._api = api
        self._namespace = namespace
        self._selector = f"{RUN_LABEL}={run_id}"
        self._out = out
        self._start = time.time()
        self._logs: dict[str, PodLog] = {}
        self._lines: dict[str, list[str]] = {}
        self._finished: set[str] = set()
        self._pods: list[Any] = []

    def update(self, names: Mapping[int, str]) -> None:
        """Read the pods and the new lines of their logs; `names` has the task's name for each execution's id."""
        list_pods = self._api.core.list_namespaced_pod
        self._pods = self._api.retry(lambda: list_pods(self._namespace, label_selector=self._selector)).items
        for pod in self._pods:
            name, execution, failed = pod.metadata.name, _execution(pod), pod.status.phase == "Failed"
            if name in self._finished or not (execution or failed):
                continue
            step = names.get(execution) if execution else _argument(pod, "--task_name")
            ended, log = failed or pod.status.phase == "Succeeded", self._logs.setdefault(name, PodLog())
            for line in log.read(self._api, self._namespace, name, MAIN_CONTAINER, ended=ended):
                self._lines.setdefault(name, []).append(COLOUR.sub("", line))
                self._out.write(f"{step or name}: {line}\n")
            if ended:
                self._finished.add(name)
        self._out.flush()

    def pending_reason(self) -> str:
        """Return the reason why no pod of the run starts; "" while a pod runs or may still start."""
        if any(pod.status.phase == "Running" for pod in self._pods):
            return ""
        waiting = [pod for pod in self._pods if pod.status.phase == "Pending" and age_seconds(pod) > PENDING_SECONDS]
        if not self._pods and time.time() - self._start > PENDING_SECONDS:
            return f"it has no pod after {PENDING_SECONDS} s; check Argo's workflow controller, which creates them"
        return "; ".join(dict.fromkeys(reason for pod in waiting for reason in waiting_reasons(pod)))

    def failure(self, execution: int | None) -> tuple[str | None, list[str]]:
        """Return the error of the failed pod of a step, or of any failed pod of the run.

        Args:
            execution: the id of the step's execution; None if no step failed.

        Returns:
            The name of the step whose driver failed, else None; and the last lines of the pod's log.
        """
        failed = [pod for pod in self._pods if pod.status.phase == "Failed"]
        of_step = [pod for pod in failed if execution is not None and _execution(pod) == execution]
        newest = max(of_step or failed, key=lambda pod: pod.metadata.creation_timestamp, default=None)
        if newest is None:
            return None, []
        reasons = [reason for reason in exit_reasons(newest) if not reason.startswith(("Error ", "Completed "))]
        lines = last_step_lines(self._lines.get(newest.metadata.name, []), driver=not _execution(newest))
        return _argument(newest, "--task_name") or None, [*lines, *reasons]


def last_step_lines(lines: Iterable[str], driver: bool = False) -> list[str]:
    """Return the last log lines of a step itself, without the lines of kfp, its launcher and Argo.

    Every line of a driver has the launcher's prefix: the prefix is removed instead.
    """
    step_lines: list[str] = []
    in_dump = False
    for line in lines:
        if driver:
            line = LAUNCHER_LINE.sub("", line)
        if line.endswith(INPUT_DUMP):
            in_dump = True
            step_lines.clear()
        elif in_dump:
            in_dump = line != "}"
        elif line.strip() and not (
            line.startswith(EXECUTOR_PREFIX) or LAUNCHER_LINE.match(line) or ARGO_LINE.match(line)
        ):
            step_lines.append(line.rstrip())
    return step_lines[-ERROR_LINES:]


def _execution(pod: Any) -> int | None:
    """Return the id of the execution of a step's pod; None for a driver."""
    number = _argument(pod, "--execution_id")
    return int(number) if number.isdigit() else None


def _argument(pod: Any, name: str) -> str:
    containers = [container for container in pod.spec.containers if container.name == MAIN_CONTAINER]
    words = [word for main in containers for word in [*(main.command or []), *(main.args or [])]]
    return next((value for word, value in pairwise(words) if word == name), "")
