"""Trial of a canary: what Prometheus measures decides whether it becomes the champion or is taken back."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pulumi
from mlplatform.monitoring.scraping import NAMESPACE, PROMETHEUS, PROMETHEUS_PORT, labels
from pulumi.dynamic import CreateResult, DiffResult, Resource, UpdateResult

from infra.dynamic_provider import DynamicProvider, UserError, any_changed
from settings.serving import CanaryPromotionSettings, CanarySettings

if TYPE_CHECKING:
    from mlplatform.start_page.release_comparison import ReleaseComparison

TESTING, PROMOTED, TAKEN_BACK = "testing", "promoted", "taken back"
NEW_TRIAL = ("service", "version", "promote")
"""Inputs whose change begins a new trial."""
LEAST_SECONDS = 60
"""Prometheus needs a few measurements of a series for its increase."""


@dataclass(frozen=True)
class CanaryDecision:
    """State of a trial, and the reason as a sentence."""

    state: str
    reason: str


def decide(promote: CanaryPromotionSettings, found: ReleaseComparison) -> CanaryDecision:
    """Return what happens to a canary with these measurements."""
    conditions, canary = promote.conditions, found.canary
    if canary.requests < conditions.requests:
        return CanaryDecision(TESTING, f"{canary.requests:,.0f} of {conditions.requests:,} requests were answered")
    faults = list(_faults(promote, found))
    errors = [fault for fault, early in faults if early]
    if errors:
        return CanaryDecision(TAKEN_BACK, f"{errors[0]}: {found.text()}")
    if found.seconds < promote.seconds:
        return CanaryDecision(TESTING, f"{found.seconds / promote.seconds:.0%} of {promote.after} passed")
    if conditions.agreement is not None and found.agreement is None:
        return CanaryDecision(TESTING, "no rows were compared with the champion; the canary's log says why")
    if faults:
        return CanaryDecision(TAKEN_BACK, f"{' and '.join(fault for fault, _ in faults)}: {found.text()}")
    return CanaryDecision(PROMOTED, f"it met its conditions for {promote.after}: {found.text()}")


def _faults(promote: CanaryPromotionSettings, found: ReleaseComparison) -> Iterator[tuple[str, bool]]:
    """Yield each condition that is not met, and whether that ends the trial early."""
    conditions, canary, champion = promote.conditions, found.canary, found.champion
    if (canary.errors or 0.0) - (champion.errors or 0.0) > conditions.more_errors:
        yield f"its error rate is more than {conditions.more_errors:.2%} above the champion's", True
    if canary.p99 and champion.p99 and canary.p99 > conditions.slower * champion.p99:
        yield f"its latency is more than {conditions.slower:g} times the champion's", False
    if found.agreement is not None and found.agreement < (conditions.agreement or 0.0):
        yield f"it agrees with the champion on less than {conditions.agreement:.2%} of the rows", False


def measured_comparison(trial: Mapping[str, Any]) -> ReleaseComparison:
    """Return the measurements of canary and champion since the beginning of a trial.

    Args:
        trial: `kubeconfig`, `login`, `service`, `version` and `started` of a `CanaryTrial`.

    Raises:
        PrometheusError, UserError: Prometheus does not respond.
    """
    from mlplatform.start_page.prometheus_api import prometheus_api
    from mlplatform.start_page.release_comparison import compare_releases

    from infra.kubernetes_client.port_forward import PodTarget, port_forward

    selector = ",".join(f"{name}={value}" for name, value in labels(PROMETHEUS).items())
    seconds, login = max(LEAST_SECONDS, int(time.time() - trial["started"])), trial["login"]
    with port_forward(PodTarget(trial["kubeconfig"], NAMESPACE, selector, PROMETHEUS_PORT)) as url:
        prometheus = prometheus_api(url, login["username"], login["password"])
        return compare_releases(prometheus, trial["service"], trial["version"], seconds)


class _CanaryTrialProvider(DynamicProvider):
    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        """Update a trial with other settings, or one that is decided now."""
        changed = any_changed(_olds, _news, ("kubeconfig", "login", *NEW_TRIAL))
        return DiffResult(changes=changed or _decision(_olds, _news).state != _olds["state"])

    def create(self, props: dict[str, Any]) -> CreateResult:
        return CreateResult(props["service"], props | _started())

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        if any_changed(_olds, _news, NEW_TRIAL):
            return UpdateResult(_news | _started())
        return UpdateResult(_news | {"started": _olds["started"]} | vars(_decision(_olds, _news)))


def _started() -> dict[str, Any]:
    return {"started": time.time(), "state": TESTING, "reason": ""}


def _decision(olds: Mapping[str, Any], news: Mapping[str, Any]) -> CanaryDecision:
    """Return the decision; a decided trial stays decided, and one that cannot be measured goes on."""
    if olds["state"] != TESTING or not news["promote"]:
        return CanaryDecision(olds["state"], olds["reason"])
    from mlplatform.start_page.prometheus_api import PrometheusError

    try:
        found = measured_comparison({**news, "started": olds["started"]})
        return decide(CanaryPromotionSettings.model_validate(news["promote"]), found)
    except (PrometheusError, UserError) as error:
        pulumi.log.warn(f"serving:canary: nothing is decided, because Prometheus does not respond: {error}")
        return CanaryDecision(olds["state"], olds["reason"])


class CanaryTrial(Resource, module="platform", name="CanaryTrial"):
    """Trial of a version beside the champion, which begins with `up` and ends by its conditions at a later `up`.

    Args:
        kubeconfig: the cluster with Prometheus.
        login: `username` and `password` of Prometheus.
        model: the name of the model.
        service: the Service of the champion.
        canary: the settings.

    Outputs:
        state: `testing`, `promoted` or `taken back`; without conditions always `testing`.
        reason: the reason of the state; "" before the first measurement.
        started: the beginning in seconds since 1970.

    Attributes:
        version: the version of the canary.
        outputs: the stack output `canary`.
    """

    state: pulumi.Output[str]
    reason: pulumi.Output[str]
    started: pulumi.Output[float]
    version: str
    outputs: Mapping[str, pulumi.Input[Any]]

    def __init__(
        self,
        name: str,
        *,
        kubeconfig: pulumi.Input[str],
        login: pulumi.Input[Mapping[str, Any]],
        model: str,
        service: str,
        canary: CanarySettings,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        self.version = str(canary.version)
        promote = canary.promote.model_dump(by_alias=True, exclude_none=True) if canary.promote else {}
        props = {
            "kubeconfig": kubeconfig,
            "login": login,
            "service": service,
            "version": self.version,
            "promote": promote,
            **dict.fromkeys(("state", "reason", "started")),
        }
        super().__init__(_CanaryTrialProvider(), name, props, opts)
        trial = {"model": model, "service": service, "version": self.version, "promote": promote}
        # The summary of a stack takes an output with a state for a pipeline.
        decided = {"trial": self.state, "reason": self.reason, "started": self.started}
        self.outputs = {"canary": trial | decided}

    @property
    def serves(self) -> pulumi.Output[bool]:
        """Return True while the canary gets requests."""
        return self.state.apply(lambda state: state == TESTING)
