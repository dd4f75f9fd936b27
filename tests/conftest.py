"""Fixtures and order of all tests."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect, sync_playwright
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

from infra.local import free_ports
from tests.harness import copy_of_checkout
from workloads import NO_USAGE_REPORTS

os.environ |= NO_USAGE_REPORTS  # tests import MLflow and ONNX Runtime, too

LONGEST = ("tests/stack/test_stack.py", "tests/stack/test_migration.py")
"""Files that run for minutes. Started last, they would leave the other processes idle."""


SERVERS = {
    "tests/door/": "door",
    "tests/pipelines/test_mlflow_users.py": "users of MLflow",
    "tests/pipelines/test_transfer.py": "users of MLflow",
}
"""Files that share servers of a session, by the beginning of their name: each process of pytest-xdist has its own."""


class SharedServers(LoadFileScheduling):
    """Runs the tests of a file in one process, and so those of all files that share servers."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return next((servers for beginning, servers in SERVERS.items() if file.startswith(beginning)), file)


def pytest_configure(config: pytest.Config) -> None:
    """Give each process of pytest-xdist its own ports, and let SIGTERM end another run as Ctrl-C does.

    A port is free until its server starts, so two processes might choose the same one. After SIGTERM, fixtures stop
    what they have started; pytest-xdist gives its processes ten seconds for that, which is too short for a stack.
    """
    if worker := os.environ.get("PYTEST_XDIST_WORKER"):
        first, count = int(worker.removeprefix("gw")), int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
        free_ports.PORTS = free_ports.PORTS[first::count]
    elif not config.getoption("numprocesses", None):
        signal.signal(signal.SIGTERM, signal.default_int_handler)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> SharedServers:
    return SharedServers(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the longest files first."""
    items.sort(key=lambda item: not item.nodeid.startswith(LONGEST))


CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("the page is not tested: Chromium is not installed")
    # A page of MLflow takes more than the default of five seconds on busy cores.
    expect.set_options(timeout=60_000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of this checkout for the stacks of tests; a test that changes its files restores them."""
    return copy_of_checkout(tmp_path_factory.mktemp("checkout"))


@pytest.fixture(scope="session")
def mlflow_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the MLflow server of all processes of pytest-xdist."""
    folder = tmp_path_factory.getbasetemp()
    return (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "mlflow"


@pytest.fixture(scope="session")
def mlflow_url(mlflow_folder: Path) -> Iterator[str]:
    """Run one MLflow server for all processes of pytest-xdist, because a start takes seconds; yield its address."""
    from tests.mlflow_servers import shared_mlflow_server  # other tests need no Pulumi

    with shared_mlflow_server(mlflow_folder) as url:
        yield url
