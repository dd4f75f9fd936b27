"""500 predictions a second during failures of the servers; the client retries each failed request once."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from infra.kubernetes_client.client import KubernetesClient
from tests.harness import Stack
from tests.lab.stacks import cut_power
from tests.waiting import until
from workloads.serving import kubernetes

from .conftest import pods, ready

RATE, SECONDS = 500, 60
FLOWER = {"petal_length": 1.4, "petal_width": 0.2, "sepal_length": 5.1, "sepal_width": 3.5}
SHORT, USUAL, LONG = (1, 3, 0), (5, 10, 0), (25, 40, 25)
"""Seconds of a client's timeouts for connecting and for the response, and of its pause before the retry."""
FIRST_SECONDS = 5
"""Seconds of load before and after the failure."""
LONGEST_SECONDS = 90
"""Time within which a Service has recovered from the death of a machine."""


@dataclass(frozen=True)
class Takeover:
    """Seconds after the death until the Service's address answers, and until no endpoint is on the dead machine.

    `node_ready` is what Kubernetes says of the machine's node at that time.
    """

    address_answers: float
    endpoints_gone: float
    node_ready: bool


@pytest.fixture
def under_load(outside: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., dict[str, float]]:
    """Return a function that disturbs the cluster under load, and prints and returns the results of requests."""

    def load(what: str, happens: Callable[[], object], timeouts: tuple[float, ...] = SHORT) -> dict[str, float]:
        figures = map(str, (RATE, SECONDS, *timeouts))
        request = (f"{outside}/score", json.dumps(FLOWER), "class_index")
        command = [sys.executable, "-m", "tools.cli.rehearsal.prediction_load", *request, *figures]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            time.sleep(FIRST_SECONDS)
            happens()
            output, _ = process.communicate(timeout=SECONDS + 90)
        found: dict[str, float] = json.loads(output)
        printed = {name: value for name, value in found.items() if name not in ("failures", "outages")}
        with capsys.disabled():
            print(f"\n  {RATE}/s for {SECONDS} s while {what}: {printed}")
        assert found["sent"] > 0.95 * RATE * SECONDS
        return found

    return load


def replicas(api: KubernetesClient, server: dict[str, Any]) -> list[Any]:
    return pods(api, kubernetes.NAMESPACE, server["labels"])


def test_load_deleted_pod_loses_no_request(
    api: KubernetesClient, server: dict[str, Any], under_load: Callable[..., dict[str, float]]
) -> None:
    before = replicas(api, server)
    figures = under_load(
        "a pod is deleted", lambda: api.core.delete_namespaced_pod(before[0].metadata.name, kubernetes.NAMESPACE)
    )
    assert figures["failed"] == 0
    assert before[0].metadata.uid not in {pod.metadata.uid for pod in replicas(api, server)}


def test_load_model_rollout_loses_no_request(
    api: KubernetesClient, kubeconfig: str, server: dict[str, Any], under_load: Callable[..., dict[str, float]]
) -> None:
    import yaml
    from kubernetes import client, config  # type: ignore[import-untyped]

    apps = client.AppsV1Api(config.new_client_from_config_dict(yaml.safe_load(kubeconfig)))
    old = {pod.metadata.uid for pod in replicas(api, server)}
    stamp = {"spec": {"template": {"metadata": {"annotations": {"tests/restarted": str(time.time())}}}}}
    figures = under_load(
        "all pods are replaced", lambda: apps.patch_namespaced_deployment(server["name"], kubernetes.NAMESPACE, stamp)
    )
    assert figures["failed"] == 0
    until(
        lambda: (
            all(ready(pod) for pod in replicas(api, server))
            and not old & {pod.metadata.uid for pod in api.core.list_namespaced_pod(kubernetes.NAMESPACE).items}
        ),
        seconds=120,
    )


@pytest.mark.parametrize("timeouts", [USUAL, LONG], ids=["usual", "long"])
def test_load_failure_of_the_announcing_node_loses_no_request(
    whole: Stack | None,
    api: KubernetesClient,
    server: dict[str, Any],
    outside: str,
    under_load: Callable[..., dict[str, float]],
    timeouts: tuple[float, ...],
    capsys: pytest.CaptureFixture[str],
) -> None:
    if whole is None:
        pytest.skip("the kubeconfig of a cluster is given, not its machines")
    addresses = {node["name"]: node["address"] for node in whole.outputs()["nodes"]}
    card = _network_card(str(urlsplit(outside).hostname))
    (machine,) = [name for name, address in addresses.items() if _network_card(address) == card]
    takeovers: list[Takeover] = []

    def die() -> None:
        takeovers.append(measure_takeover(api, server, machine, lambda: cut_power(whole, machine)))

    try:
        figures = under_load(f"{machine} dies, which answers for the address", die, timeouts)
        with capsys.disabled():
            print(f"  {takeovers[0]}")
        assert figures["failed"] == 0
        assert figures["first"] > 0.5 * figures["sent"]
        assert takeovers[0].node_ready, "the endpoints remained until the node monitor found the death"
    finally:
        whole.up()
    until(lambda: all(ready(pod) for pod in replicas(api, server)), seconds=180)
    # The failure of one more node must leave a pod.
    assert len({pod.spec.node_name for pod in replicas(api, server)}) == 2


def _network_card(address: str) -> str:
    """Return the link-layer address of a host, to which this computer has just connected."""
    with suppress(OSError):
        socket.create_connection((address, 22), timeout=1).close()
    words = subprocess.run(["ip", "neigh", "show", address], check=True, capture_output=True, text=True).stdout.split()
    return words[words.index("lladdr") + 1]


def measure_takeover(
    api: KubernetesClient, server: dict[str, Any], machine: str, dies: Callable[[], object]
) -> Takeover:
    """Let a machine die, and wait for both; the time begins before the death."""
    begin = time.monotonic()
    dies()

    def seconds_until(condition: Callable[[], bool], what: str) -> float:
        until(condition, seconds=LONGEST_SECONDS, what=what)
        return time.monotonic() - begin

    with ThreadPoolExecutor(2) as pool:
        answers = pool.submit(seconds_until, lambda: _answers(server["outside"]), "an answer from the address")
        gone = pool.submit(
            seconds_until, lambda: machine not in _endpoint_nodes(api, server["name"]), "no dead endpoint"
        )
        endpoints_gone = gone.result()
        # `ready` reads the conditions of a node, too.
        is_ready = ready(api.core.read_node(machine))
        return Takeover(round(answers.result(), 2), round(endpoints_gone, 2), is_ready)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/v2/health/live", timeout=0.3) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def _endpoint_nodes(api: KubernetesClient, service: str) -> set[str]:
    """Return the nodes of the endpoints to which kube-proxy sends connections."""
    from kubernetes import client  # type: ignore[import-untyped]

    slices = client.DiscoveryV1Api(api.core.api_client).list_namespaced_endpoint_slice(
        kubernetes.NAMESPACE, label_selector=f"kubernetes.io/service-name={service}"
    )
    return {each.node_name for part in slices.items for each in part.endpoints or [] if each.conditions.ready}
