"""What a step said last, among all that is said around it in its pod."""

from __future__ import annotations

import pytest

from infra import retry
from infra.kubernetes_client.client import KubernetesClient
from infra.kubernetes_client.pod_logs import PodLog
from workloads.engines.kubeflow.run_pods import last_said

from .stand_in import NAMESPACE, StandIn

LOG = """\
I1125 10:00:00.123456      25 main.go:64] Setting log level to: '1'
time="2026-11-25T10:00:00.200Z" level=info msg="capturing logs" argo=true
[KFP Executor 2026-11-25 10:00:01,000 INFO]: Got executor_input:
{
    "inputs": {
        "parameterValues": {"value": 8}
    }
}
[KFP Executor 2026-11-25 10:00:01,100 INFO]: Looking for component `fail` in --component_module_path `x`
reading

Traceback (most recent call last):
ValueError: 8 is no good
E1125 10:00:02.000001      25 launcher_v2.go:604] Component failed to execute successfully: exit status 1
I1125 10:00:02.100000      25 launcher_v2.go:196] publish success.
F1125 10:00:02.200000      25 main.go:58] failed to execute component: exit status 1
time="2026-11-25T10:00:02.300Z" level=info msg="sub-process exited" argo=true error="exit status 1"
Error: exit status 1
"""


def test_a_step_is_quoted_without_its_launcher() -> None:
    assert last_said(LOG.splitlines()) == ["reading", "Traceback (most recent call last):", "ValueError: 8 is no good"]


def test_only_the_last_lines_are_quoted() -> None:
    assert last_said(str(number) for number in range(100)) == [str(number) for number in range(90, 100)]


def test_a_driver_has_nothing_but_what_it_logs() -> None:
    assert last_said(LOG.splitlines(), driver=True)[-1] == "failed to execute component: exit status 1"


def test_the_log_of_a_pod_that_has_ended_is_asked_for_again(
    it: StandIn, properties: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "PAUSE_SECONDS", 0.01)
    api, log, path = (
        KubernetesClient(properties["kubeconfig"]),
        PodLog(),
        f"/api/v1/namespaces/{NAMESPACE}/pods/step/log",
    )
    it.logs["step"] = "2026-11-25T10:00:00Z last\n"
    it.answers["GET", path] = [500]
    assert list(log.read(api, NAMESPACE, "step")) == []
    it.answers["GET", path] = [500, 503]
    assert list(log.read(api, NAMESPACE, "step", ended=True)) == ["last"]
    it.answers["GET", path] = [404]
    assert list(PodLog().read(api, NAMESPACE, "step", ended=True)) == []
