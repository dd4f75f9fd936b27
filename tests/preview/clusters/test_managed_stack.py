"""Previews of whole stacks on a vendor's cluster, which a preview does not connect to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.harness import Stack, temporary_stacks

from .test_managed import CONFIG


@pytest.fixture(scope="module")
def make(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Stack]]:
    """Return a function that creates stacks with a kubeconfig and more settings of the platform."""
    with temporary_stacks(project) as made:

        def stack(name: str, **platform: Any) -> Stack:
            registry = {"url": "https://registry.example.com/team", "username": "builder", "password": "s3cret-w0rd"}
            settings = {
                "infra:cluster": "existing",
                "infra:existing": {"kubeconfig": yaml.safe_dump(CONFIG)},
                "platform:pipelines": "job",
                "platform:registry": registry,
                "workloads:pipelines": {"iris-local": {}},
                **{f"platform:{key}": value for key, value in platform.items()},
            }
            return made(name, tmp_path_factory.mktemp(name), settings)

        yield stack


def planned(stack: Stack) -> str:
    code, output = stack.pulumi("preview")
    assert code == 0, output
    assert "s3cret" not in output
    return output


def test_preview_omits_features_of_the_vendor(make: Callable[..., Stack]) -> None:
    output = planned(make("plain"))
    for resource in ("mlflow", "mlplatform-pipelines", "iris-local-run", "https://registry.example.com/team"):
        assert resource in output
    for vendor_part in ("metrics-server", "openebs", "metallb", "weave"):
        assert vendor_part not in output


def test_preview_with_settings_for_missing_features_installs_them(make: Callable[..., Stack]) -> None:
    settings = {"storage": "openebs", "metrics": "own", "load_balancer": {"addresses": "10.9.8.0/28"}}
    output = planned(make("bare", **settings))
    for resource in ("openebs-localpv-provisioner", "metrics-server", "metallb"):
        assert resource in output
    assert 'storage_class  : "openebs-hostpath"' in output


@pytest.fixture(scope="module")
def states(make: Callable[..., Stack]) -> dict[str, dict[str, Any]]:
    """Return the planned state of each resource of a stack with everything, by URN."""
    settings = {"storage": "openebs", "metrics": "own", "load_balancer": {"addresses": "10.9.8.0/28"}}
    settings["door"] = {"host": "10.9.8.1"}
    code, output = make("owned", pipelines="kubeflow", monitoring={}, **settings).pulumi("preview", "--json")
    assert code == 0, output
    steps = json.loads(output[output.index("{") : output.rindex("}") + 1])["steps"]
    return {step["urn"]: step["newState"] for step in steps}


def test_preview_with_kubeflow_puts_the_smoke_test_before_all_runs(states: dict[str, dict[str, Any]]) -> None:
    waits_for = {urn.rpartition("::")[2]: state.get("dependencies", []) for urn, state in states.items()}
    before = {name for name, urns in waits_for.items() if any(urn.endswith("::smoke-test-run") for urn in urns)}
    assert {"iris-local-version", "iris-local-run"} <= before
    assert not any(urn.endswith("::iris-local-version") for urn in waits_for["smoke-test-run"])


def test_preview_waits_for_the_files_of_the_door_after_all_services_behind_it(
    states: dict[str, dict[str, Any]],
) -> None:
    (files,) = [state for urn, state in states.items() if urn.endswith("::door-served-files")]
    waits_for = {urn.rpartition("::")[2] for urn in files["dependencies"]}
    assert {"door", "mlflow", "prometheus", "ml-pipeline-ui"} <= waits_for


def test_preview_every_object_waits_for_the_ownership(states: dict[str, dict[str, Any]]) -> None:
    objects = {urn: state for urn, state in states.items() if state["type"].startswith("kubernetes:")}
    assert len(objects) > 100
    early = [
        urn
        for urn, state in objects.items()
        if not any(each.endswith("::cluster-ownership") for each in state.get("dependencies", []))
    ]
    assert early == []


@pytest.mark.parametrize(
    ("platform", "message"),
    [
        ({"registry": {}}, "the platform's images are pushed to a registry that the cluster pulls from"),
        ({"registry": {"address": "10.0.0.1"}}, "the platform's images are pushed to a registry"),
        ({"network": "flannel"}, "platform:network: not with infra:cluster: existing; a cluster that exists has its"),
        ({"storage": "openebs", "storage_class": "gp3"}, "gp3 is a vendor's, and storage: openebs brings its own"),
        ({"blobs": {}}, "pods cannot reach the storage emulator of this computer"),
    ],
)
def test_preview_with_conflicting_settings_fails_with_the_remedy(
    make: Callable[..., Stack], platform: dict[str, Any], message: str
) -> None:
    digest = hashlib.sha256(message.encode()).hexdigest()[:6]
    code, output = make(f"refused-{min(platform)}-{digest}", **platform).pulumi("preview")
    assert code != 0
    assert message in " ".join(output.split())
