"""A load of POST requests over several connections. Each connection waits for a response before its next request."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.bench.http import client

CONNECTIONS = 16
TIMEOUT_SECONDS = 10
SCRIPT = Path(__file__).with_name("post.lua")


@dataclass(frozen=True)
class Figures:
    """Figures of a load: successful responses a second, latency in milliseconds, and the number of failed requests."""

    requests_per_second: float
    p50_ms: float
    p99_ms: float
    errors: int


def generator() -> str:
    """Return the name of the load generator on this computer."""
    return "wrk, 1 thread" if shutil.which("wrk") else f"Python client, {client.PROCESSES} processes"


def load(url: str, bodies: Path, seconds: int) -> Figures:
    """Send the lines of the file `bodies`, each a JSON text, in turn for `seconds`."""
    return wrk(url, bodies, seconds) if shutil.which("wrk") else _client(url, bodies, seconds)


def wrk(url: str, bodies: Path, seconds: int, *authorization: str) -> Figures:
    """Send the lines by wrk, also over HTTPS, with a header `Authorization` if its value is given."""
    options = ["-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", f"{TIMEOUT_SECONDS}s"]
    output = subprocess.run(
        ["wrk", *options, "-s", SCRIPT, url, "--", bodies, *authorization], check=True, capture_output=True, text=True
    ).stdout
    found = json.loads(output.splitlines()[-1])
    return Figures(found["good"] / found["seconds"], found["p50_ms"], found["p99_ms"], found["errors"])


def _client(url: str, bodies: Path, seconds: int) -> Figures:
    latencies, errors = client.load(url, bodies.read_bytes().splitlines(), CONNECTIONS, seconds, TIMEOUT_SECONDS)
    if not latencies:
        return Figures(0, float("inf"), float("inf"), errors)
    p50, p99 = (latencies[int(share * (len(latencies) - 1))] * 1000 for share in (0.50, 0.99))
    return Figures(len(latencies) / seconds, p50, p99, errors)
