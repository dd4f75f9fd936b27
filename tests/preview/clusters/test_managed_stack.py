"""Previews of whole stacks on a vendor's cluster, which a preview does not connect to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from tests.harness import Stack, copy_of_checkout, temporary_stacks

from .test_managed import CONFIG


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Stack]]:
    """Return a function that creates stacks with a kubeconfig and more settings of the platform."""
    with temporary_stacks(copy_of_checkout(tmp_path_factory.mktemp("checkout"))) as made:

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


def test_preview_with_kubeflow_puts_the_smoke_test_before_all_runs(make: Callable[..., Stack]) -> None:
    code, output = make("kubeflow", pipelines="kubeflow").pulumi("preview", "--json")
    assert code == 0, output
    steps = json.loads(output[output.index("{") : output.rindex("}") + 1])["steps"]
    waits_for = {step["urn"].rpartition("::")[2]: step["newState"].get("dependencies", []) for step in steps}
    before = {name for name, urns in waits_for.items() if any(urn.endswith("::smoke-test-run") for urn in urns)}
    assert {"iris-local-version", "iris-local-run"} <= before
    assert not any(urn.endswith("::iris-local-version") for urn in waits_for["smoke-test-run"])


def test_preview_every_object_waits_for_the_ownership(make: Callable[..., Stack]) -> None:
    settings = {"storage": "openebs", "metrics": "own", "load_balancer": {"addresses": "10.9.8.0/28"}}
    code, output = make("owned", pipelines="kubeflow", monitoring={}, **settings).pulumi("preview", "--json")
    assert code == 0, output
    steps = json.loads(output[output.index("{") : output.rindex("}") + 1])["steps"]
    objects = [step["newState"] for step in steps if step["newState"]["type"].startswith("kubernetes:")]
    assert len(objects) > 100
    early = [
        each["urn"]
        for each in objects
        if not any(urn.endswith("::cluster-ownership") for urn in each.get("dependencies", []))
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
