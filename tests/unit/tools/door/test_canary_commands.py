"""`make canary`, and the section of a preview about it."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from mlplatform.start_page.prometheus_api import PrometheusError
from mlplatform.start_page.release_comparison import MeasuredRelease, ReleaseComparison

from settings.serving import CanarySettings
from tests.stand_ins import Answering, answering
from tools.cli.champions import canary_commands
from tools.cli.champions.canary_commands import canary, planned_trial
from tools.cli.cluster_access import AccessError

STARTED = 1.8e9
FOUND = ReleaseComparison(
    1800, MeasuredRelease("3", 5000, 0.01, 0.004, 0.01), MeasuredRelease("4", 500, 0.01, 0.004, 0.01), 500, 0.97
)
PROMOTE = {"after": "1h", "if": {"requests": 100, "more_errors": 0.01, "slower": 1.5}}
TRIAL = {
    "model": "iris",
    "service": "iris-server",
    "version": "4",
    "promote": PROMOTE,
    "started": STARTED,
    "trial": "testing",
    "reason": "",
}


class Registry(Answering):
    """Stand-in for MLflow that keeps what it gets."""

    received: list[dict[str, str]]

    def do_POST(self) -> None:
        self.received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.answer(200, {})


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Mock:
    Registry.received = []
    measure = Mock(return_value=FOUND)
    monkeypatch.setattr(canary_commands, "measured_comparison", measure)
    return measure


def a_stack(monkeypatch: pytest.MonkeyPatch, url: str = "", **trial: Any) -> Mock:
    """Return a stack with a canary of version 4 and the output of its trial."""
    outputs = {"kubeconfig": "k", "monitoring_login": {}, "tracking_access": {"url": url}, "canary": TRIAL | trial}
    monkeypatch.setattr(canary_commands, "secret_outputs", lambda _: outputs)
    settings = CanarySettings.model_validate({"version": 4, "promote": PROMOTE})
    stack = SimpleNamespace(serving=SimpleNamespace(canary=settings))
    monkeypatch.setattr(canary_commands, "stack_settings", lambda _: stack)
    return Mock(stack="lab")


def test_canary_prints_both_releases_and_keeps_them_in_mlflow(
    monkeypatch: pytest.MonkeyPatch, measured: Mock, capsys: pytest.CaptureFixture[str]
) -> None:
    with answering(Registry) as url:
        assert canary(a_stack(monkeypatch, url), []) == 0
    assert capsys.readouterr().out.splitlines() == [
        "Canary of iris, measured since 2027-01-15 08:00 UTC",
        "                    champion  canary",
        "  version           3         4",
        "  requests          5,000     500",
        "  errors            1.00%     1.00%",
        "  mean latency      4.0 ms    4.0 ms",
        "  99th percentile   10.0 ms   10.0 ms",
        "  same predictions  -         97.00% of 500 rows",
        "With the next `make up`: the trial goes on: 50% of 1h passed",
    ]
    tag = {"name": "iris", "version": "4", "key": "canary", "value": f"testing: {FOUND.text()}"}
    assert Registry.received == [tag]


def test_canary_of_an_ended_trial_prints_its_decision(
    monkeypatch: pytest.MonkeyPatch, measured: Mock, capsys: pytest.CaptureFixture[str]
) -> None:
    assert canary(a_stack(monkeypatch, trial="taken back", reason="errors"), []) == 0
    assert capsys.readouterr().out.endswith("Decided: the canary is taken back: errors\n")


def test_canary_without_a_trial_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canary_commands, "secret_outputs", lambda _: {})
    with pytest.raises(AccessError, match="measures no canary: set serving:canary and platform:monitoring"):
        canary(Mock(stack="lab"), [])


def test_preview_says_what_happens_to_the_canary(monkeypatch: pytest.MonkeyPatch, measured: Mock) -> None:
    def planned(**trial: Any) -> list[str]:
        return list(planned_trial(a_stack(monkeypatch, **trial)))

    assert planned() == ["version 4: the trial goes on: 50% of 1h passed"]
    assert planned(version="3") == ["version 4 begins its trial of 1h"]
    assert planned(promote={"after": "2h"}) == ["version 4 begins its trial of 1h"]
    measured.return_value = ReleaseComparison(3600, FOUND.champion, FOUND.canary, 500, 0.97)
    assert planned() == [
        "version 4: the canary becomes the champion if it passes the gate: it met its conditions for 1h: "
        f"{FOUND.text()}"
    ]
    measured.side_effect = PrometheusError("no answer")
    (line,) = planned()
    assert line.startswith("version 4: the trial goes on, because nothing can be decided: ")
