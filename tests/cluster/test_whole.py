"""A complete stack through failures of machines and changes of settings: no data is lost, no wrong model responds."""

from __future__ import annotations

import copy
import json
import re
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from textwrap import dedent
from typing import Any

import pandas as pd
import pytest
import requests
import yaml
from mlplatform.tracking_access import TrackingAccess

from infra.kubernetes_client.client import KubernetesClient
from settings.paths import PROJECT
from tests.harness import Stack
from tests.lab.stacks import cut_power
from tests.waiting import until
from tools.cli.backup.fingerprint import score_urls
from workloads.mlflow_session import mlflow_session
from workloads.serving import kubernetes

from .conftest import pods, ready

MACHINES = ("control-plane", "worker-1", "worker-2")
FLOWERS = [
    {"petal_length": 0.2 * step, "petal_width": 0.1 * step, "sepal_length": 6.0, "sepal_width": 3.0}
    for step in range(35)
]


@pytest.fixture
def stack(whole: Stack | None) -> Iterator[Stack]:
    if whole is None:
        pytest.skip("the kubeconfig of a cluster is given, not a stack")
    before = copy.deepcopy(whole.settings)
    yield whole
    if whole.settings != before:
        whole.settings = before
        whole.up()


def predictions(stack: Stack) -> Any:
    answer = requests.post(stack.outputs()["score_url"], json=FLOWERS, timeout=10)
    answer.raise_for_status()
    return [each["probabilities"] for each in answer.json()["predictions"]]


def answering(stack: Stack) -> Counter[str]:
    """Return the versions that respond to 100 requests, each on a new connection."""
    url = stack.outputs()["score_url"]
    return Counter(str(requests.post(url, json=FLOWERS[0], timeout=10).json()["model_version"]) for _ in range(100))


def served_and_another(stack: Stack) -> tuple[str, str]:
    """Return the pinned version that responds, and a version trained with other trees."""
    (served,) = answering(stack)
    external = stack.settings["workloads:pipelines"]["iris-external"]
    external["parameters"]["trees"] = 7
    external["version"] = int(served)
    stack.up()
    assert set(answering(stack)) == {served}
    return served, str(stack.outputs()["iris_external"]["version"])


def test_power_cut_of_all_machines_loses_nothing(stack: Stack) -> None:
    before, outputs = predictions(stack), stack.outputs("--show-secrets")
    for machine in MACHINES:
        cut_power(stack, machine)
    stack.up()
    assert until(lambda: _or_none(lambda: predictions(stack)), seconds=180) == before
    after = stack.outputs("--show-secrets")
    assert {name: after[name] for name in outputs if name != "nodes"} == {
        name: value for name, value in outputs.items() if name != "nodes"
    }


def test_up_without_the_api_server_fails_and_loses_nothing(stack: Stack) -> None:
    before = stack.pulumi("stack", "--show-urns")[1].count("urn:pulumi:")
    way = [
        "-d",
        f"{_first_three(stack)}.11",
        "-p",
        "tcp",
        "--dport",
        "6443",
        "-j",
        "REJECT",
        "--reject-with",
        "tcp-reset",
    ]
    subprocess.run(["iptables", "-I", "OUTPUT", *way], check=True)
    try:
        stack.settings["serving:workers"] = 1
        start = time.monotonic()
        code, output = stack.pulumi("up", "--yes", "--skip-preview")
        assert code != 0, output
        assert ":6443" in output
        assert time.monotonic() - start < stack.up_seconds
    finally:
        subprocess.run(["iptables", "-D", "OUTPUT", *way], check=True)
    assert stack.pulumi("stack", "--show-urns")[1].count("urn:pulumi:") == before
    stack.up()
    assert len(predictions(stack)) == len(FLOWERS)


def test_canary_gets_its_share_of_requests(stack: Stack) -> None:
    champion, candidate = served_and_another(stack)
    stack.settings["serving:canary"] = {"version": int(candidate), "replicas": 1}
    stack.up()
    found = until(lambda: len(shares := answering(stack)) == 2 and shares, seconds=60)
    assert set(found) == {champion, candidate}
    assert 10 < found[candidate] < 60, found  # one pod of three
    del stack.settings["serving:canary"]
    stack.up()
    until(lambda: set(answering(stack)) == {champion}, seconds=60)


def test_rollout_unservable_version_never_responds(stack: Stack) -> None:
    before = answering(stack)
    stack.settings["workloads:pipelines"]["iris-external"]["version"] = 99
    code, output = stack.pulumi("up", "--yes", "--skip-preview")
    assert code != 0, output
    assert "workloads:pipelines.iris-external.version: model iris has no version 99; there are:" in output
    assert set(answering(stack)) == set(before)


def test_rollout_altered_model_is_rolled_back_until_repaired(
    stack: Stack, api: KubernetesClient, server: dict[str, Any], tracking_access: TrackingAccess[str]
) -> None:
    from workloads.ml.tracking import client

    before, other = served_and_another(stack)
    with mlflow_session(tracking_access) as url:
        right = client(url).get_model_version("iris", other).tags["sha256"]
        client(url).set_model_version_tag("iris", other, "sha256", "0" * 64)
    stack.settings["workloads:pipelines"]["iris-external"]["version"] = int(other)
    code, output = stack.pulumi("up", "--yes", "--skip-preview")
    assert code != 0, output
    assert "mlplatform-serving/iris-server: its new pods do not serve within 180 s" in output, output
    assert re.search(r"iris-server-\S+: fetch: .*SHA-256", output), output
    assert set(answering(stack)) == {before}
    until(lambda: all(ready(pod) for pod in pods(api, kubernetes.NAMESPACE, server["labels"])), seconds=60)

    with mlflow_session(tracking_access) as url:
        client(url).set_model_version_tag("iris", other, "sha256", right)
    stack.up("--refresh")
    until(lambda: set(answering(stack)) == {other}, seconds=60)


def _first_three(stack: Stack) -> str:
    return str(stack.settings["infra:lab"]["subnet"]).rpartition(".")[0]


def _or_none(ask: Any) -> Any:
    try:
        return ask()
    except (requests.RequestException, KeyError):
        return None


def settings_of_own_table(stack: Stack) -> list[dict[str, Any]]:
    """Return the settings after each block of docs/own-table.md."""
    text = (PROJECT / "docs" / "own-table.md").read_text()
    uploads, *changes = [yaml.safe_load(dedent(block)) for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)]
    settings = copy.deepcopy(stack.settings)
    settings["platform:blobs"]["upload"] |= uploads["platform:blobs"]["upload"]
    found = []
    for change in changes:
        for pipeline, lines in change.items():
            settings["workloads:pipelines"][pipeline] = settings["workloads:pipelines"].get(pipeline, {}) | lines
        found.append(copy.deepcopy(settings))
    return found


def test_own_tables_of_the_page_are_served_after_their_questions_are_answered(stack: Stack) -> None:
    text = (PROJECT / "docs" / "own-table.md").read_text()
    (copy_pipeline,) = re.findall(r"^\$ (sed .*)$", text, re.MULTILINE)
    questions, answers, kinds = settings_of_own_table(stack)
    code, shown = stack.make("up", questions)
    assert code != 0
    assert [column for column in ("area", "built", "postcode") if f"column {column}, row" not in shown] == []
    stack.settings = answers
    _, shown = stack.make("up")
    assert "rent version 1 is champion" in shown, shown
    subprocess.run(copy_pipeline, shell=True, check=True, cwd=stack.project)
    stack.settings = kinds
    _, shown = stack.make("up")
    assert "kinds version 1 is champion" in shown, shown
    urls = score_urls(stack.outputs())
    (flat, expected) = re.findall(r"^    -d '(.*)'\n(.*)$", text, re.MULTILINE)[0]
    answer = requests.post(urls["rent"], json=json.loads(flat), timeout=30).json()
    assert answer == json.loads(expected)
    rows = pd.read_csv(stack.project / "examples" / "own-table" / "samples.csv")
    body = rows.drop(columns="kind").to_csv(index=False)
    answer = requests.post(urls["kinds"], body, headers={"Content-Type": "text/csv"}, timeout=30).json()
    right = [each["kind"] == kind for each, kind in zip(answer["predictions"], rows["kind"], strict=True)]
    assert sum(right) > 0.9 * len(rows)
