"""A server under test: start, request, measure and stop it."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from infra.local.local_process import HOST
from infra.local.process_group import ProcessGroup
from settings.paths import PROJECT
from tests.bench.forest import FLOWERS, Flower, Forest
from tools.bootstrap.process import inherited_environment

START_SECONDS = 120


@dataclass(frozen=True)
class Server:
    """A server that predicts one flower for each POST request.

    `body` is what is sent of a flower, as JSON; `answered` reads the index of its class from the text of an answer, and
    is None where the answer is a constant.
    """

    name: str
    command: Sequence[str | Path]
    port: int
    path: str
    body: Callable[[Flower], Any]
    answered: Callable[[str], int] | None
    environment: Mapping[str, str] = field(default_factory=dict)
    host: str = HOST

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}{self.path}"

    def post(self, body: str, content_type: str = "application/json") -> tuple[int, str]:
        """Return status and text of the response. Raises OSError if the server does not respond."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=30)
        try:
            connection.request("POST", self.path, body, {"Content-Type": content_type})
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()


@contextmanager
def running(server: Server, folder: Path) -> Iterator[psutil.Process]:
    """Start the server, yield its process once it responds, and stop it. Its log is in `folder`.

    Raises:
        RuntimeError: it ended, or did not answer within two minutes; with the end of its log.
    """
    log = folder / f"{server.name}.log"
    session = ProcessGroup(folder / f"{server.name}.process.json")
    environment = {**inherited_environment(), **server.environment}
    process = session.start([str(word) for word in server.command], cwd=PROJECT, env=environment, log=log)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _answers(server):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{server.name} does not answer:\n{log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.1)
        yield psutil.Process(process.pid)
    finally:
        session.stop()


def require_right_answers(server: Server, forest: Forest) -> None:
    """Raise RuntimeError if the predictions for every tenth flower differ from the forest's."""
    if server.answered is None:
        return
    for flower, expected in list(zip(FLOWERS, forest.classes(), strict=True))[::10]:
        status, text = server.post(json.dumps(server.body(flower)))
        if status != 200 or server.answered(text) != expected:
            raise RuntimeError(f"{server.name} answers {status} {text} to {flower}; the forest says {expected}")


def memory(process: psutil.Process) -> int:
    """Return the bytes of a process and its descendants. On Linux, shared memory counts once."""
    tree = [process, *process.children(recursive=True)]
    return sum(member.memory_full_info().pss if psutil.LINUX else member.memory_info().rss for member in tree)


def _answers(server: Server) -> bool:
    try:
        status, _ = server.post(json.dumps(server.body(FLOWERS[0])))
    except OSError:
        return False
    return status == 200
