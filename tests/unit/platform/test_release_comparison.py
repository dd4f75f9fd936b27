"""Comparison of a canary with the champion, by a real Prometheus with recorded measurements."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing

import pytest
import requests
from mlplatform.start_page.prometheus_api import PrometheusApi, PrometheusError, prometheus_api
from mlplatform.start_page.release_comparison import MeasuredRelease, ReleaseComparison, compare_releases

from infra.local.free_ports import free_port
from tests.waiting import until
from tools.bootstrap import paths

INDEX = paths.cache_directory() / "bundle" / "bundle.json"
BUILT = json.loads(INDEX.read_text())["binaries"] if INDEX.is_file() else {}
NAMES = ("prometheus/promtool", "prometheus/prometheus")
PROGRAMS = [str(INDEX.parent / BUILT[name]["path"]) for name in NAMES if name in BUILT]
needs_prometheus = pytest.mark.skipif(
    len(PROGRAMS) < len(NAMES), reason="no Prometheus here; `make bundle ARGS=prometheus` builds it"
)
MINUTES = 20
SERVICE = 'service="iris-server",track="{track}"'
PREDICTION = SERVICE + ',path="/score"'
RATES: dict[str, float] = {
    f'model_server_requests_total{{{PREDICTION.format(track="stable")},status="200"}}': 90,
    f'model_server_requests_total{{{PREDICTION.format(track="canary")},status="200"}}': 9,
    f'model_server_requests_total{{{PREDICTION.format(track="canary")},status="422"}}': 1,
    f'model_server_requests_total{{{SERVICE.format(track="canary")},path="/metrics",status="200"}}': 99,
    'model_server_requests_total{service="other",track="canary",path="/score",status="500"}': 99,
    **{
        f"model_server_request_seconds_{name}{{{PREDICTION.format(track=track)}{label}}}": value
        for track, rate, mean in (("stable", 90, 0.002), ("canary", 10, 0.02))
        for name, label, value in (
            ("sum", "", rate * mean),
            ("bucket", ',le="0.01"', rate if mean < 0.01 else 0),
            ("bucket", ',le="0.05"', rate),
            ("bucket", ',le="+Inf"', rate),
        )
    },
    **{
        f'model_server_compared_rows_total{{{SERVICE.format(track="canary")},version="4",champion="{champion}",'
        f'result="{result}"}}': rate
        for champion, result, rate in (("3", "same", 19), ("3", "different", 1), ("2", "different", 50))
    },
}
"""Increase of each counter in a minute."""


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrometheusApi]:
    """Start a Prometheus that has recorded `RATES` until now."""
    folder = tmp_path_factory.mktemp("prometheus")
    now = int(time.time())
    times = [(minute, now - 60 * (MINUTES - minute)) for minute in range(MINUTES + 1)]
    lines = [f"{series} {rate * minute} {at}" for series, rate in RATES.items() for minute, at in times]
    info = [
        f'model_server_model_info{{{SERVICE.format(track=track)},version="{version}"}} {value} {at}'
        for track, version, value in (("stable", "3", 1), ("stable", "2", 0), ("canary", "4", 1))
        for _, at in times
    ]
    (folder / "measured.txt").write_text("\n".join([*lines, *info, "# EOF\n"]))
    promtool, program = PROGRAMS
    subprocess.run(
        [promtool, "tsdb", "create-blocks-from", "openmetrics", folder / "measured.txt", folder / "data"],
        check=True,
        capture_output=True,
    )
    (folder / "prometheus.yaml").write_text("")
    url = f"http://127.0.0.1:{free_port()}"
    options = [f"--config.file={folder}/prometheus.yaml", f"--storage.tsdb.path={folder}/data"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [program, *options, f"--web.listen-address={url.removeprefix('http://')}"], stdout=log, stderr=log
        )
    until(lambda: _is_ready(url), what="Prometheus")
    with closing(requests.Session()) as session:
        yield PrometheusApi(url, session)
    process.terminate()
    process.wait(30)


def _is_ready(url: str) -> bool:
    try:
        return requests.get(f"{url}/-/ready", timeout=5).ok
    except requests.RequestException:
        return False


@needs_prometheus
def test_comparison_has_the_measurements_of_both_tracks(prometheus: PrometheusApi) -> None:
    found = compare_releases(prometheus, "iris-server", "4", 600)
    assert (found.champion.version, found.canary.version) == ("3", "4")
    assert found.champion.requests == pytest.approx(900, rel=0.1)
    assert found.canary.requests == pytest.approx(100, rel=0.1)
    assert found.champion.errors == 0
    assert found.canary.errors == pytest.approx(0.1, rel=0.01)
    assert found.champion.mean == pytest.approx(0.002, rel=0.01)
    assert found.canary.mean == pytest.approx(0.02, rel=0.01)
    assert found.champion.p99 is not None
    assert found.champion.p99 <= 0.01 < (found.canary.p99 or 0) <= 0.05
    assert found.agreement == pytest.approx(0.95, rel=0.01)
    assert found.compared == pytest.approx(200, rel=0.1)
    texts = {name: (champion, canary) for name, champion, canary in found.rows()}
    assert texts["errors"] == ("0.00%", "10.00%")
    assert texts["mean latency"] == ("2.0 ms", "20.0 ms")
    assert texts["same predictions"][1].startswith("95.00% of ")
    assert "errors 10.00% (0.00%)" in found.text()
    assert found.text().endswith(
        "same predictions " + texts["same predictions"][1] + "; in brackets the champion, version 3"
    )


@needs_prometheus
def test_comparison_without_requests_has_no_values(prometheus: PrometheusApi) -> None:
    nothing = MeasuredRelease("", 0, None, None, None)
    expected = ReleaseComparison(600, nothing, MeasuredRelease("4", 0, None, None, None), 0, None)
    found = compare_releases(prometheus, "wine-server", "4", 600)
    assert found == expected
    assert found.text() == (
        "requests 0 (0), errors - (-), mean latency - (-), 99th percentile - (-), same predictions -; in brackets the "
        "champion, version unknown"
    )


def test_comparison_without_prometheus_raises() -> None:
    with pytest.raises(PrometheusError):
        compare_releases(prometheus_api("http://127.0.0.1:1", "me", "word"), "iris-server", "4", 600)
