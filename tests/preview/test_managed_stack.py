"""Previews of whole stacks on a cluster that somebody else runs, which does not answer and need not."""

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
    """Stacks with a kubeconfig, and more settings of the platform."""
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


def test_what_the_vendor_has_is_not_put_in_again(make: Callable[..., Stack]) -> None:
    said = planned(make("plain"))
    for ours in ("mlflow", "mlplatform-pipelines", "iris-local-run", "https://registry.example.com/team"):
        assert ours in said
    for not_ours in ("metrics-server", "openebs", "metallb", "weave"):
        assert not_ours not in said


def test_what_the_vendor_lacks_comes_in_by_settings(make: Callable[..., Stack]) -> None:
    lacking = {"storage": "openebs", "metrics": "own", "load_balancer": {"addresses": "10.9.8.0/28"}}
    said = planned(make("bare", **lacking))
    for ours in ("openebs-localpv-provisioner", "metrics-server", "metallb"):
        assert ours in said
    assert 'storage_class  : "openebs-hostpath"' in said


def test_by_kubeflow_a_run_that_is_of_no_use_comes_before_all_others(make: Callable[..., Stack]) -> None:
    code, output = make("kubeflow", pipelines="kubeflow").pulumi("preview", "--json")
    assert code == 0, output
    steps = json.loads(output[output.index("{") : output.rindex("}") + 1])["steps"]
    waits_for = {step["urn"].rpartition("::")[2]: step["newState"].get("dependencies", []) for step in steps}
    before = {name for name, urns in waits_for.items() if any(urn.endswith("::smoke-test-run") for urn in urns)}
    assert {"iris-local-version", "iris-local-run"} <= before
    assert not any(urn.endswith("::iris-local-version") for urn in waits_for["smoke-test-run"])


@pytest.mark.parametrize(
    ("platform", "said"),
    [
        ({"registry": {}}, "the platform's images are pushed to a registry that the cluster pulls from"),
        ({"registry": {"address": "10.0.0.1"}}, "the platform's images are pushed to a registry"),
        ({"network": "flannel"}, "platform:network: not with infra:cluster: existing; a cluster that exists has its"),
        ({"storage": "openebs", "storage_class": "gp3"}, "gp3 is a vendor's, and storage: openebs brings its own"),
        ({"blobs": {}}, "pods do not reach the storage emulator of this computer"),
    ],
)
def test_settings_that_do_not_fit_are_refused_with_what_would(
    make: Callable[..., Stack], platform: dict[str, Any], said: str
) -> None:
    digest = hashlib.sha256(said.encode()).hexdigest()[:6]
    code, output = make(f"refused-{min(platform)}-{digest}", **platform).pulumi("preview")
    assert code != 0
    assert said in " ".join(output.split())
