"""Predictions at a steady rate, whatever happens to the servers.

`python -m tests.lab.load URL RATE SECONDS CONNECT TOTAL AGAIN`

Requests are sent when their time has come, not when an earlier one was answered, so that a server that hangs does not
slow down the load. A client waits up to CONNECT seconds for a connection and TOTAL for an answer, and sends what fails
once more on a new connection, at once or AGAIN seconds after the first attempt. Prints how they ended as JSON.
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
    """How many were answered at the first and at the second attempt, how many failed and when, the latency in ms."""
    ended: Counter[str] = Counter()
    took: list[float] = []
    lost: list[float] = []
    begin = time.monotonic()

    async def request(session: aiohttp.ClientSession) -> None:
        start = time.monotonic()
        for attempt in ("first", "second"):
            try:
                async with session.post(url, json=FLOWER, timeout=timeout) as answer:
                    if answer.status == 200 and "class_index" in await answer.json():
                        ended[attempt] += 1
                        took.append((time.monotonic() - start) * 1000)
                        return
            except (aiohttp.ClientError, TimeoutError, OSError):
                pass
            await asyncio.sleep(start + again - time.monotonic())
        ended["failed"] += 1
        lost.append(start - begin)

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        sent = 0
        async with asyncio.TaskGroup() as tasks:
            while (elapsed := time.monotonic() - begin) < seconds:
                while sent < elapsed * rate:
                    tasks.create_task(request(session))
                    sent += 1
                await asyncio.sleep(1 / rate)
    took.sort()
    quantiles = {f"p{q}_ms": round(took[int(q / 100 * (len(took) - 1))], 1) if took else 0.0 for q in (50, 99)}
    outage = {"failed_from_s": round(min(lost), 1), "failed_to_s": round(max(lost), 1)} if lost else {}
    return {"sent": sent, **{key: ended[key] for key in ("first", "second", "failed")}, **outage, **quantiles}


if __name__ == "__main__":
    url, (rate, seconds, connect, total, again) = sys.argv[1], map(float, sys.argv[2:])
    timeout = aiohttp.ClientTimeout(total=total, sock_connect=connect)
    print(json.dumps(asyncio.run(load(url, rate, seconds, timeout, again))))
