"""The pods of a run: its steps' logs, what keeps one from starting, what ended one."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any, TextIO

from infra.kubernetes_client.client import KubernetesClient
from infra.kubernetes_client.pod_logs import PodLog, exit_reasons, waiting_reasons
from workloads.engines.kfp_runner import COLOUR, ERROR_LINES, INPUT_DUMP, OF_EXECUTOR

RUN_LABEL = "pipeline/runid"
MAIN = "main"
"""Argo's name for the container that does a pod's work."""
STUCK_SECONDS = 180
"""How long a pod may wait for what can come by itself, such as an image that the registry is slow to give."""
OF_LAUNCHER = re.compile(r"[IWEF]\d{4} \d\d:\d\d:\d\d\.\d+ +\d+ [\w.-]+\.go:\d+\] ")
OF_ARGO = re.compile(r"time=\S+ level=|Error: exit status \d+$")


class RunPods:
    """Those of one run; each line of a step's log is written to `out` once, behind the name of its step.

    A pod that prepares a step or a condition, a driver, is told of only if it fails.
    """

    def __init__(self, api: KubernetesClient, namespace: str, run_id: str, out: TextIO) -> None:
        self._api = api
        self._namespace = namespace
        self._selector = f"{RUN_LABEL}={run_id}"
        self._out = out
        self._began = time.time()
        self._logs: dict[str, PodLog] = {}
        self._said: dict[str, list[str]] = {}
        self._read_to_end: set[str] = set()
        self._pods: list[Any] = []

    def look(self, names: Mapping[int, str]) -> None:
        """See how they are, and read on; `names` are those of the executions' tasks."""
        listed = self._api.core.list_namespaced_pod
        self._pods = self._api.retry(lambda: listed(self._namespace, label_selector=self._selector)).items
        for pod in self._pods:
            name, execution, failed = pod.metadata.name, _execution(pod), pod.status.phase == "Failed"
            if name in self._read_to_end or not (execution or failed):
                continue
            step = names.get(execution) if execution else _argument(pod, "--task_name")
            ended, log = failed or pod.status.phase == "Succeeded", self._logs.setdefault(name, PodLog())
            for line in log.read(self._api, self._namespace, name, MAIN, ended=ended):
                self._said.setdefault(name, []).append(COLOUR.sub("", line))
                self._out.write(f"{step or name}: {line}\n")
            if ended:
                self._read_to_end.add(name)
        self._out.flush()

    def why_stuck(self) -> str:
        """What keeps the run from going on; empty where something moves, or may still."""
        if any(pod.status.phase == "Running" for pod in self._pods):
            return ""
        waiting = [pod for pod in self._pods if pod.status.phase == "Pending" and _age(pod) > STUCK_SECONDS]
        if not self._pods and time.time() - self._began > STUCK_SECONDS:
            return f"it has no pod after {STUCK_SECONDS} s; Argo's workflow controller makes them"
        return "; ".join(dict.fromkeys(why for pod in waiting for why in waiting_reasons(pod)))

    def why_failed(self, execution: int | None) -> tuple[str | None, list[str]]:
        """What the pod that failed said last; that of the step with this execution, or else any that is there.

        Returns:
            The step's name where a driver failed that was to prepare it, and the lines.
        """
        failed = [pod for pod in self._pods if pod.status.phase == "Failed"]
        of_step = [pod for pod in failed if execution is not None and _execution(pod) == execution]
        newest = max(of_step or failed, key=lambda pod: pod.metadata.creation_timestamp, default=None)
        if newest is None:
            return None, []
        unusual = [end for end in exit_reasons(newest) if not end.startswith(("Error ", "Completed "))]
        said = last_said(self._said.get(newest.metadata.name, []), driver=not _execution(newest))
        return _argument(newest, "--task_name") or None, [*said, *unusual]


def last_said(lines: Iterable[str], driver: bool = False) -> list[str]:
    """The last lines that a step said itself, without what kfp, its launcher and Argo said around them.

    A driver says nothing but in the launcher's way, of which the time and place are left out.
    """
    said: list[str] = []
    in_dump = False
    for line in lines:
        if driver:
            line = OF_LAUNCHER.sub("", line)
        if line.endswith(INPUT_DUMP):
            in_dump = True
            said.clear()
        elif in_dump:
            in_dump = line != "}"
        elif line.strip() and not (line.startswith(OF_EXECUTOR) or OF_LAUNCHER.match(line) or OF_ARGO.match(line)):
            said.append(line.rstrip())
    return said[-ERROR_LINES:]


def _execution(pod: Any) -> int | None:
    """The execution that a step's pod is for; None for a driver's."""
    number = _argument(pod, "--execution_id")
    return int(number) if number.isdigit() else None


def _argument(pod: Any, name: str) -> str:
    mains = [container for container in pod.spec.containers if container.name == MAIN]
    words = [word for main in mains for word in [*(main.command or []), *(main.args or [])]]
    return next((value for word, value in pairwise(words) if word == name), "")


def _age(pod: Any) -> float:
    """In seconds."""
    return float(time.time() - pod.metadata.creation_timestamp.timestamp())
