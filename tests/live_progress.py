"""A pytest plugin of `make test-lab`: one line for each test, with the elapsed and the expected time.

The reason of a failure follows at once: the whole report comes only at the end, which may be hours later.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from airgap.bundle.progress import Progress

NAME = "live-progress"
REASON_LINES = 30
"""Last lines of the report of a failed test."""


def pytest_configure(config: pytest.Config) -> None:
    """Register the plugin. The copy of standard error remains the terminal while pytest captures a test's output."""
    config.pluginmanager.register(LiveTests(os.dup(2)), NAME)


class LiveTests:
    """Lines of the tests of a session.

    Args:
        descriptor: of the terminal or log.
    """

    def __init__(self, descriptor: int) -> None:
        self._output = os.fdopen(descriptor, "w")
        self._total = self._number = 0
        self._progress: Progress | None = None
        self._outcomes: list[str] = []
        self._reasons: list[str] = []

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Count the tests."""
        self._total = len(session.items)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Show the line of a test while it runs."""
        self._number += 1
        self._outcomes, self._reasons = [], []
        title = f"[{self._number}/{self._total}] {item.nodeid.removeprefix('tests/')}"
        with Progress(title, item.nodeid, self._output) as self._progress:
            result = yield
            self._progress.done(self._outcome(), succeeded=self._outcome() == "passed")
        for reason in self._reasons:
            print(*reason.splitlines()[-REASON_LINES:], sep="\n", file=self._output, flush=True)
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self) -> Iterator[None]:
        """Show that the fixtures are created."""
        return (yield from self._shown("setting up"))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self) -> Iterator[None]:
        """Show that the test runs."""
        return (yield from self._shown("running"))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self) -> Iterator[None]:
        """Show the outcome while the fixtures are removed, which takes minutes for a lab."""
        return (yield from self._shown(f"{self._outcome()}, cleaning up"))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note the outcome of a phase, and why it failed."""
        self._outcomes.append(report.outcome)
        if report.failed:
            self._reasons.append(report.longreprtext)

    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        """Replace pytest's dots by the lines of this plugin."""
        if report.failed:
            return "failed", "", "FAILED"  # the word begins the line of the summary
        return report.outcome if report.when == "call" or report.skipped else "", "", ""

    def _outcome(self) -> str:
        return next((each for each in self._outcomes if each != "passed"), "passed")

    def _shown(self, activity: str) -> Iterator[None]:
        assert self._progress is not None
        self._progress.show(activity)
        return (yield)
