"""Decisions on a canary by its measurements, and the states of its trial."""

from __future__ import annotations

from typing import Any

import pytest
from mlplatform.monitoring import canary_trial
from mlplatform.monitoring.canary_trial import _CanaryTrialProvider, decide
from mlplatform.start_page.release_comparison import MeasuredRelease, ReleaseComparison

from infra.errors import UserError
from settings.serving import CanaryPromotionSettings

HOUR = 3600
GOOD = {"requests": 500.0, "errors": 0.01, "mean": 0.004, "p99": 0.01}
PROPS = {"kubeconfig": "k", "login": {}, "service": "iris-server", "version": "4", "promote": {"after": "1h"}}
TRIAL = {**PROPS, "started": 5.0, "state": "testing", "reason": ""}


def comparison(seconds: int = HOUR, compared: float = 500, agreement: float | None = 0.97, **canary: Any) -> Any:
    return ReleaseComparison(
        seconds,
        MeasuredRelease("3", 5000, 0.01, 0.004, 0.01),
        MeasuredRelease("4", **{**GOOD, **canary}),
        compared,
        agreement,
    )


@pytest.mark.parametrize(
    ("found", "state", "reason"),
    [
        (comparison(), "promoted", "it met its conditions for 1h: requests 500 (5,000), errors 1.00% (1.00%)"),
        (comparison(HOUR // 2), "testing", "50% of 1h passed"),
        (comparison(requests=99), "testing", "99 of 100 requests were answered"),
        (comparison(9 * HOUR, requests=0, errors=None, mean=None, p99=None), "testing", "0 of 100 requests"),
        (comparison(60, errors=0.03), "taken back", "its error rate is more than 1.00% above the champion's: "),
        (comparison(60, errors=0.03, requests=50), "testing", "50 of 100 requests"),
        (comparison(60, p99=0.02), "testing", "2% of 1h passed"),
        (comparison(p99=0.02), "taken back", "its latency is more than 1.5 times the champion's: "),
        (comparison(agreement=0.8), "taken back", "it agrees with the champion on less than 90.00% of the rows: "),
        (comparison(p99=0.02, agreement=0.8), "taken back", "the champion's and it agrees with the champion on less"),
        (comparison(compared=0, agreement=None), "testing", "no rows were compared with the champion"),
    ],
)
def test_decision_follows_errors_latency_and_agreement(found: Any, state: str, reason: str) -> None:
    promote = CanaryPromotionSettings.model_validate({"after": "1h", "if": {"agreement": 0.9}})
    decision = decide(promote, found)
    assert decision.state == state
    assert reason in decision.reason


def test_decision_without_a_wanted_agreement_needs_no_compared_rows() -> None:
    promote = CanaryPromotionSettings.model_validate({"after": "1h"})
    assert decide(promote, comparison(compared=0, agreement=None)).state == "promoted"
    assert decide(promote, comparison(agreement=0.1)).state == "promoted"


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[ReleaseComparison]:
    """Return a list whose last item has the measurements; without items, Prometheus is away."""
    found: list[ReleaseComparison] = []

    def measure(trial: Any) -> ReleaseComparison:
        assert trial["started"] == TRIAL["started"]
        if not found:
            raise UserError("no pod is ready")
        return found[-1]

    monkeypatch.setattr(canary_trial, "measured_comparison", measure)
    monkeypatch.setattr(canary_trial.pulumi.log, "warn", lambda _: None)
    return found


def outcome(olds: dict[str, Any], **news: Any) -> tuple[bool | None, str, str]:
    """Return whether a trial changes, and then its state and reason."""
    provider = _CanaryTrialProvider()
    changes = provider.diff("id", olds, PROPS | news).changes
    outs = provider.update("id", olds, PROPS | news).outs or {}
    return changes, outs["state"], outs["reason"]


def test_trial_ends_at_the_update_whose_measurements_decide(measured: list[ReleaseComparison]) -> None:
    assert outcome(TRIAL) == (False, "testing", "")  # Prometheus is away
    measured.append(comparison(HOUR // 2))
    assert outcome(TRIAL)[:2] == (False, "testing")
    measured.append(comparison())
    assert outcome(TRIAL) == (True, "promoted", f"it met its conditions for 1h: {comparison().text()}")


def test_ended_trial_stays_as_it_is_until_its_settings_change(measured: list[ReleaseComparison]) -> None:
    measured.append(comparison())
    ended = TRIAL | {"state": "taken back", "reason": "errors"}
    assert outcome(ended) == (False, "taken back", "errors")
    assert outcome(ended, kubeconfig="new") == (True, "taken back", "errors")
    assert outcome(ended, version="5") == (True, "testing", "")
    assert outcome(ended, promote={"after": "2h"}) == (True, "testing", "")


def test_trial_without_conditions_never_ends(measured: list[ReleaseComparison]) -> None:
    measured.append(comparison())
    olds = TRIAL | {"promote": {}}
    assert outcome(olds, promote={}) == (False, "testing", "")


def test_new_trial_starts_now_without_any_measurement(measured: list[ReleaseComparison]) -> None:
    outs = _CanaryTrialProvider().create(PROPS).outs or {}
    assert (outs["state"], outs["reason"]) == ("testing", "")
    assert outs["started"] > 1e9
