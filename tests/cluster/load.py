"""Prediction requests at a steady rate, independent of the servers' responses.

`python -m tests.cluster.load URL RATE SECONDS CONNECT TOTAL AGAIN`

Each request is sent at its scheduled time, so a server that hangs does not slow down the load. A client waits up to
CONNECT seconds for a connection and TOTAL seconds for a response. It retries a failed request once on a new connection,
at least AGAIN seconds after the first attempt. Prints the results as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter

import aiohttp

FLOWER = {"petal_length": 1.4, "petal_width": 0.2, "sepal_length": 5.1, "sepal_width": 3.5}


async def load(url: str, rate: float, seconds: float, timeout: aiohttp.ClientTimeout, again: float) -> dict[str, float]:
    """Return the numbers of requests by result, the time range of failures, and the latency in ms."""
    results: Counter[str] = Counter()
    latencies: list[float] = []
    failures: list[float] = []
    begin = time.monotonic()

    async def request(session: aiohttp.ClientSession) -> None:
        start = time.monotonic()
        for attempt in ("first", "second"):
            try:
                async with session.post(url, json=FLOWER, timeout=timeout) as response:
                    if response.status == 200 and "class_index" in await response.json():
                        results[attempt] += 1
                        latencies.append((time.monotonic() - start) * 1000)
                        return
            except (aiohttp.ClientError, TimeoutError, OSError):
                pass
            await asyncio.sleep(start + again - time.monotonic())
        results["failed"] += 1
        failures.append(start - begin)

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        sent = 0
        async with asyncio.TaskGroup() as tasks:
            while (elapsed := time.monotonic() - begin) < seconds:
                while sent < elapsed * rate:
                    tasks.create_task(request(session))
                    sent += 1
                await asyncio.sleep(1 / rate)
    latencies.sort()
    quantiles = {
        f"p{q}_ms": round(latencies[int(q / 100 * (len(latencies) - 1))], 1) if latencies else 0.0 for q in (50, 99)
    }
    outage = {"failed_from_s": round(min(failures), 1), "failed_to_s": round(max(failures), 1)} if failures else {}
    return {"sent": sent, **{key: results[key] for key in ("first", "second", "failed")}, **outage, **quantiles}


if __name__ == "__main__":
    url, (rate, seconds, connect, total, again) = sys.argv[1], map(float, sys.argv[2:])
    timeout = aiohttp.ClientTimeout(total=total, sock_connect=connect)
    print(json.dumps(asyncio.run(load(url, rate, seconds, timeout, again))))
