"""A second stack on the cluster of the lab, whose objects belong to the lab's stack."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator

import pytest
from mlplatform import job_namespace, mlflow
from mlplatform.k8s.owned_objects import OWNER

from infra.kubernetes_client.client import KubernetesClient
from tests.harness import Stack, copy_of_checkout, temporary_stacks


@pytest.fixture(scope="module")
def guest(whole: Stack | None, kubeconfig: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Yield a stack on the lab's cluster as if a vendor had created it."""
    if whole is None:
        pytest.skip("the kubeconfig of a cluster is given, not a stack")
    host, login = next(iter(json.loads(_pull_secret(kubeconfig))["auths"].items()))
    username, _, password = base64.b64decode(login["auth"]).decode().partition(":")
    file = tmp_path_factory.mktemp("access") / "kubeconfig"
    file.touch(mode=0o600)
    file.write_text(kubeconfig)
    settings = {
        "infra:cluster": "existing",
        "infra:existing": {"kubeconfig_file": str(file)},
        "platform:pipelines": "job",
        "platform:registry": {"url": f"https://{host}", "username": username, "password": password},
        "platform:storage_class": "openebs-hostpath",
        "workloads:pipelines": {"iris-local": {}},
    }
    with temporary_stacks(copy_of_checkout(tmp_path_factory.mktemp("checkout"))) as create:
        yield create("guest", tmp_path_factory.mktemp("guest"), settings)


def _pull_secret(kubeconfig: str) -> str:
    from .conftest import secret

    return secret(KubernetesClient(kubeconfig), mlflow.NAMESPACE, "registry")[".dockerconfigjson"]


def _namespaces(api: KubernetesClient) -> dict[str, str]:
    """Return the UID of each namespace, and that of each object in MLflow's namespace, by name."""
    found = {each.metadata.name: each.metadata.uid for each in api.core.list_namespace().items}
    claims = api.core.list_namespaced_persistent_volume_claim(mlflow.NAMESPACE).items
    return found | {f"claim {each.metadata.name}": each.metadata.uid for each in claims}


def test_up_on_the_cluster_of_others_names_their_objects_and_changes_none(guest: Stack, api: KubernetesClient) -> None:
    before = _namespaces(api)
    code, output = guest.pulumi("up", "--yes", "--skip-preview")
    assert code != 0, output
    assert _namespaces(api) == before
    # Another failure, as of the registry's certificate, may end the whole `up` first.
    targets = ("--target", "**cluster-facts", "--target", "**cluster-ownership")
    code, output = guest.pulumi("up", "--yes", "--skip-preview", *targets)
    assert code != 0, output
    for name in (mlflow.NAMESPACE, job_namespace.NAMESPACE):
        if name in before:
            assert f"Namespace {name}: another program or person created it" in output
    assert _namespaces(api) == before
    assert OWNER not in (api.core.read_namespace(mlflow.NAMESPACE).metadata.labels or {})
    code, output = guest.pulumi("destroy", "--yes", "--skip-preview")
    assert code == 0, output
    assert _namespaces(api) == before
