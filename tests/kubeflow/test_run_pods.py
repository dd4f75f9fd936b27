"""Last log lines of a step, without the lines of the programs around it."""

from __future__ import annotations

import pytest
from mlplatform.engine_config import KubeflowEngineConfig

from infra import retry
from infra.kubernetes_client.client import KubernetesClient
from infra.kubernetes_client.pod_logs import PodLog
from workloads.engines.kubeflow.run_pods import last_step_lines

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


def test_last_step_lines_of_a_step_omit_its_launcher() -> None:
    assert last_step_lines(LOG.splitlines()) == [
        "reading",
        "Traceback (most recent call last):",
        "ValueError: 8 is no good",
    ]


def test_last_step_lines_of_a_long_log_are_the_last_ten() -> None:
    assert last_step_lines(str(number) for number in range(100)) == [str(number) for number in range(90, 100)]


def test_last_step_lines_of_a_driver_are_its_log() -> None:
    assert last_step_lines(LOG.splitlines(), driver=True)[-1] == "failed to execute component: exit status 1"


def test_pod_log_read_of_an_ended_pod_is_retried(
    backend: StandIn, config: KubeflowEngineConfig[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "PAUSE_SECONDS", 0.01)
    api, log, path = (
        KubernetesClient(config.kubeconfig),
        PodLog(),
        f"/api/v1/namespaces/{NAMESPACE}/pods/step/log",
    )
    backend.logs["step"] = "2026-11-25T10:00:00Z last\n"
    backend.statuses["GET", path] = [500]
    assert list(log.read(api, NAMESPACE, "step")) == []
    backend.statuses["GET", path] = [500, 503]
    assert list(log.read(api, NAMESPACE, "step", ended=True)) == ["last"]
    backend.statuses["GET", path] = [404]
    assert list(PodLog().read(api, NAMESPACE, "step", ended=True)) == []
