"""Prediction requests at a steady rate, independent of the servers' responses.

`python -m tools.cli.rehearsal.prediction_load URL ROW RESULT RATE SECONDS CONNECT TOTAL AGAIN`

Each request is sent at its scheduled time, so a server that hangs does not slow down the load. It predicts ROW, a JSON
object, and succeeds if the response has the field RESULT. A client waits up to CONNECT seconds for a connection and
TOTAL seconds for a response. It retries a failed request once on a new connection, at least AGAIN seconds after the
first attempt. The load ends after SECONDS or with SIGTERM. Prints the results as JSON.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from tools.cli.rehearsal.availability import outages


@dataclass
class LoadResults:
    """Results of requests by attempt; times are in seconds since 1970."""

    counts: Counter[str] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)
    answers: list[float] = field(default_factory=list)
    failures: list[float] = field(default_factory=list)

    def report(self, sent: int, begin: float, end: float) -> dict[str, Any]:
        """Return the numbers of requests by result, the times of failures and outages, and the latency in ms."""
        latencies = sorted(self.latencies)
        quantiles = {
            f"p{q}_ms": round(latencies[int(q / 100 * (len(latencies) - 1))], 1) if latencies else 0.0 for q in (50, 99)
        }
        lost = [round(each - begin, 1) for each in (min(self.failures), max(self.failures))] if self.failures else []
        return {
            "sent": sent,
            **{key: self.counts[key] for key in ("first", "second", "failed")},
            **dict(zip(("failed_from_s", "failed_to_s"), lost, strict=False)),
            **quantiles,
            "failures": [round(each, 2) for each in self.failures],
            "outages": list(outages(sorted(self.answers), begin, end)),
        }


async def send_load(
    url: str, row: object, result: str, rate: float, seconds: float, timeout: aiohttp.ClientTimeout, again: float
) -> dict[str, Any]:
    """Return the report of requests to the address `url`, see the text of this module."""
    results = LoadResults()
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    begin, begin_time = time.monotonic(), time.time()

    async def request(session: aiohttp.ClientSession) -> None:
        start = time.monotonic()
        for attempt in ("first", "second"):
            try:
                async with session.post(url, json=row, timeout=timeout) as response:
                    if response.status == 200 and result in await response.json():
                        results.counts[attempt] += 1
                        results.latencies.append((time.monotonic() - start) * 1000)
                        results.answers.append(time.time())
                        return
            except (aiohttp.ClientError, TimeoutError, OSError):
                pass
            await asyncio.sleep(start + again - time.monotonic())
        results.counts["failed"] += 1
        results.failures.append(begin_time + start - begin)

    # The certificate of a door is that of the stack's authority, which this computer may not trust.
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, ssl=False)) as session:
        sent = 0
        async with asyncio.TaskGroup() as tasks:
            while (elapsed := time.monotonic() - begin) < seconds and not ended.is_set():
                while sent < elapsed * rate:
                    tasks.create_task(request(session))
                    sent += 1
                await asyncio.sleep(1 / rate)
            end = time.time()
    return results.report(sent, begin_time, end)


def main(arguments: Sequence[str]) -> None:
    """Send the load that the arguments describe, and print its report."""
    url, row, result = arguments[:3]
    rate, seconds, connect, total, again = map(float, arguments[3:])
    timeout = aiohttp.ClientTimeout(total=total, sock_connect=connect)
    print(json.dumps(asyncio.run(send_load(url, json.loads(row), result, rate, seconds, timeout, again))))


if __name__ == "__main__":
    main(sys.argv[1:])
