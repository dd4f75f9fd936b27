"""A load generator in Python for computers without wrk. It uses more CPU, so its ceiling is lower."""

from __future__ import annotations

import asyncio
import multiprocessing
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import cycle
from typing import cast
from urllib.parse import urlsplit

PROCESSES = 2
HEAD = re.compile(rb"HTTP/1\.[01] (?P<status>\d{3}).*?\r\n\r\n", re.DOTALL)
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
CLOSING = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)


def load(
    url: str, bodies: Sequence[bytes], connections: int, seconds: float, timeout: float
) -> tuple[list[float], int]:
    """Send the JSON texts in turn. Return the ascending seconds of successful responses, and the number of failures."""
    share = connections // PROCESSES
    with ProcessPoolExecutor(PROCESSES, multiprocessing.get_context("spawn")) as pool:
        tasks = [pool.submit(_share_of_load, url, bodies, share, seconds, timeout) for _ in range(PROCESSES)]
        tallies = [task.result() for task in tasks]
    return sorted(took for tally in tallies for took in tally.latencies), sum(tally.errors for tally in tallies)


@dataclass
class _Tally:
    latencies: list[float] = field(default_factory=list)
    errors: int = 0


def _share_of_load(url: str, bodies: Sequence[bytes], connections: int, seconds: float, timeout: float) -> _Tally:
    where = urlsplit(url)
    assert where.hostname
    assert where.port
    address = where.hostname, where.port
    head = f"POST {where.path} HTTP/1.1\r\nHost: {where.netloc}\r\nContent-Type: application/json\r\nContent-Length: "
    requests = cycle([f"{head}{len(body)}\r\n\r\n".encode() + body for body in bodies])
    tally = _Tally()

    async def one_after_the_other(end: float) -> None:
        loop = asyncio.get_running_loop()
        while loop.time() < end:
            try:
                _, connection = await loop.create_connection(lambda: _Connection(requests, tally, end), *address)
                await asyncio.wait_for(connection.closed, end - loop.time() + timeout)
            except OSError:
                tally.errors += 1

    async def side_by_side() -> None:
        end = asyncio.get_running_loop().time() + seconds
        await asyncio.gather(*(one_after_the_other(end) for _ in range(connections)))

    asyncio.run(side_by_side())
    return tally


class _Connection(asyncio.Protocol):
    """A connection that sends one request at a time, until the end or until the server closes it."""

    def __init__(self, requests: Iterator[bytes], tally: _Tally, end: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._requests, self._tally, self._end = requests, tally, end
        self._answer, self._sent, self._waiting = b"", 0.0, False
        self.closed: asyncio.Future[None] = self._loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        self._answer += data
        head = HEAD.match(self._answer)
        if head is None:
            return
        length = LENGTH.search(head[0])
        if len(self._answer) < head.end() + (int(length[1]) if length else 0):
            return
        now = self._loop.time()
        if int(head["status"]) < 400:
            self._tally.latencies.append(now - self._sent)
        else:
            self._tally.errors += 1
        self._waiting = False
        if now < self._end and not CLOSING.search(head[0]):
            self._send()
        else:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._waiting:
            self._tally.errors += 1
        if not self.closed.done():
            self.closed.set_result(None)

    def _send(self) -> None:
        self._answer, self._sent, self._waiting = b"", self._loop.time(), True
        self._transport.write(next(self._requests))
