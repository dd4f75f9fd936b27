"""A client that writes to MLflow through failures, and reads everything that MLflow acknowledged."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import requests

from tests.harness import Stack

API = "api/2.0/mlflow"
METRIC = "number"
READERS = 8


@dataclass
class Writer:
    """A client of MLflow that logs runs with a metric and a file each, and remembers what MLflow acknowledged.

    MLflow keeps runs and metrics in its database, and files in its object store.
    """

    url: str
    login: tuple[str, str]
    experiment: str = ""
    runs: list[str] = field(default_factory=list)
    metrics: dict[str, float] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    times: list[float] = field(default_factory=list)
    """Times at which all three were acknowledged, in seconds since 1970."""
    failures: int = 0
    end: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        self._thread = threading.Thread(target=self._write_until_end)
        self._thread.start()

    def stop(self) -> None:
        self.end.set()
        self._thread.join()

    def call(self, method: str, path: str, **options: Any) -> requests.Response:
        """Send a request on a new connection; raise unless it succeeds."""
        answer = requests.request(method, f"{self.url}/{path}", auth=self.login, timeout=(5, 20), **options)
        answer.raise_for_status()
        return answer

    def write(self) -> None:
        """Log one run with its metric and its file."""
        created = self.call("POST", f"{API}/runs/create", json={"experiment_id": self.experiment}).json()
        run = created["run"]["info"]["run_id"]
        self.runs.append(run)
        metric = {"run_id": run, "key": METRIC, "value": float(len(self.runs)), "timestamp": 0, "step": 0}
        self.call("POST", f"{API}/runs/log-metric", json=metric)
        self.metrics[run] = metric["value"]
        self.call("PUT", self.file(run), data=run.encode())
        self.files[run] = run
        self.times.append(time.time())

    def file(self, run: str) -> str:
        return f"api/2.0/mlflow-artifacts/artifacts/{self.experiment}/{run}/artifacts/note.txt"

    def _write_until_end(self) -> None:
        while not self.end.is_set():
            try:
                self.write()
            except requests.RequestException:
                self.failures += 1
                time.sleep(0.5)

    def lost(self) -> list[str]:
        """Return the acknowledged runs, metrics and files that cannot be read."""
        with ThreadPoolExecutor(READERS) as pool:
            paths = {run: f"{API}/runs/get?run_id={run}" for run in self.runs}
            records = dict(zip(self.runs, pool.map(self._read, paths.values()), strict=True))
            contents = dict(zip(self.files, pool.map(self._read, map(self.file, self.files)), strict=True))
        missing = [run for run, text in records.items() if run not in text]
        metrics = [run for run, value in self.metrics.items() if records[run] and value not in _metrics(records[run])]
        files = [self.file(run) for run, content in self.files.items() if contents[run] != content]
        return missing + [f"{METRIC} of {run}" for run in metrics] + files

    def _read(self, path: str) -> str:
        """Return the body of a response, "" without one."""
        answer = requests.get(f"{self.url}/{path}", auth=self.login, timeout=30)
        return answer.text if answer.status_code == 200 else ""


def _metrics(text: str) -> list[float]:
    """Return the values of the metrics in MLflow's text of a run."""
    return [each["value"] for each in json.loads(text)["run"]["data"].get("metrics", [])]


@contextmanager
def mlflow_writer(stack: Stack) -> Iterator[Writer]:
    """Write to MLflow of a stack, in an experiment without other runs, until the block ends."""
    outputs = stack.outputs("--show-secrets")
    login = outputs["tracking_login"]
    writer = Writer(outputs["tracking_url"], (login["username"], login["password"]))
    name = {"name": f"writes-{time.time_ns()}"}
    writer.experiment = writer.call("POST", f"{API}/experiments/create", json=name).json()["experiment_id"]
    writer.start()
    try:
        yield writer
    finally:
        writer.stop()
