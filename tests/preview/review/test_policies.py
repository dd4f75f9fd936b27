"""Policies: resources that each one accepts and rejects."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.command.stack import search_path
from tests.preview.azure.test_stand_in import stack

from .pack import PACK, Pack

UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
DIGEST = f"@sha256:{'0123456789abcdef' * 4}"
CONTAINER: dict[str, Any] = {
    "name": "server",
    "image": f"10.20.0.1:5443/mlplatform/model-server{DIGEST}",
    "resources": {"limits": {"memory": "256Mi"}, "requests": {"cpu": "100m"}},
    "securityContext": {"runAsNonRoot": True},
    "env": [
        {"name": "STORE_PASSWORD", "valueFrom": {"secretKeyRef": {"name": "store", "key": "password"}}},
        {"name": "TOKEN_FILE", "value": "/var/run/secrets/token"},
        {"name": "PORT", "value": "5005"},
    ],
}
CLAIM = {"metadata": {"name": "data"}, "spec": {"storageClassName": "openebs-hostpath"}}
RULE = {
    "name": "ssh",
    "access": "Allow",
    "direction": "Inbound",
    "protocol": "Tcp",
    "destinationPortRange": "22",
    "sourceAddressPrefix": "203.0.113.7/32",
}


@pytest.fixture(scope="module")
def pack() -> Iterator[Pack]:
    with Pack() as running:
        yield running


def pod(namespace: str = "mlplatform", context: Any = None, **changed: Any) -> dict[str, Any]:
    """Return a Deployment of one container with changed properties; a property that is None is removed."""
    container = copy.deepcopy(CONTAINER) | changed
    container = {key: value for key, value in container.items() if value is not None}
    spec = {"containers": [container]} | ({"securityContext": context} if context else {})
    return {"metadata": {"namespace": namespace}, "spec": {"template": {"spec": spec}}}


def rules(**changed: Any) -> dict[str, Any]:
    return {"securityRules": [RULE | changed]}


NSG, DEPLOYMENT = "azure-native:network:NetworkSecurityGroup", "kubernetes:apps/v1:Deployment"
CLAIM_KIND, SET = "kubernetes:core/v1:PersistentVolumeClaim", "kubernetes:apps/v1:StatefulSet"
MACHINE, ACCOUNT = "azure-native:compute:VirtualMachine", "azure-native:storage:StorageAccount"
BLOBS = "azure-native:storage:BlobContainer"


def image(version: str) -> dict[str, Any]:
    return {"storageProfile": {"imageReference": {"publisher": "Canonical", "version": version}}}


ACCEPTED: dict[str, tuple[str, dict[str, Any]]] = {
    "SSH for one address": (NSG, rules()),
    "SSH for an address that is unknown": (NSG, rules(sourceAddressPrefix=UNKNOWN)),
    "a website for the world": (NSG, rules(sourceAddressPrefix="*", destinationPortRange="443")),
    "SSH refused to the world": (NSG, rules(sourceAddressPrefix="*", access="Deny")),
    "outbound SSH": (NSG, rules(sourceAddressPrefix="*", direction="Outbound")),
    "a numbered machine image": (MACHINE, image("24.04.202609040")),
    "a private account": (ACCOUNT, {"allowBlobPublicAccess": False}),
    "a private container": (BLOBS, {"publicAccess": "None"}),
    "a container without public access setting": (BLOBS, {}),
    "a good pod": (DEPLOYMENT, pod()),
    "another image by version": (DEPLOYMENT, pod(image="quay.io/argoproj/argoexec:v4.0.5")),
    "an image that is unknown": (DEPLOYMENT, pod(image=UNKNOWN)),
    "a user other than root": (DEPLOYMENT, pod(securityContext={"runAsUser": 1000})),
    "a user set by the pod": (DEPLOYMENT, pod(securityContext=None, context={"runAsNonRoot": True})),
    "root in a system namespace": (DEPLOYMENT, pod("kube-system", securityContext={"privileged": True})),
    "a claim with a class": (CLAIM_KIND, CLAIM),
    "a claim whose class is unknown": (CLAIM_KIND, {"spec": {"storageClassName": UNKNOWN}}),
    "a set's claim with a class": (SET, {"spec": {"volumeClaimTemplates": [CLAIM]}}),
    "a resource of another kind": ("kubernetes:core/v1:Namespace", {"metadata": {"name": "n"}}),
}
REJECTED: dict[str, tuple[str, str, dict[str, Any], str]] = {
    "any source": ("no-world-open-ssh", NSG, rules(sourceAddressPrefix="*"), "ssh opens SSH to *"),
    "all addresses": ("no-world-open-ssh", NSG, rules(sourceAddressPrefix="0.0.0.0/0"), "0.0.0.0/0"),
    "half of all addresses": ("no-world-open-ssh", NSG, rules(sourceAddressPrefix="128.0.0.0/1"), "128.0.0.0/1"),
    "the service tag of Azure": ("no-world-open-ssh", NSG, rules(sourceAddressPrefix="Internet"), "Internet"),
    "one of several sources": (
        "no-world-open-ssh",
        NSG,
        rules(sourceAddressPrefix=None, sourceAddressPrefixes=["203.0.113.7", "0.0.0.0/0"]),
        "0.0.0.0/0",
    ),
    "a range of ports": ("no-world-open-ssh", NSG, rules(sourceAddressPrefix="*", destinationPortRange="20-30"), "*"),
    "one of several ranges": (
        "no-world-open-ssh",
        NSG,
        rules(sourceAddressPrefix="*", destinationPortRange="443", destinationPortRanges=["80", "22"]),
        "*",
    ),
    "a separate rule": (
        "no-world-open-ssh",
        "azure-native:network:SecurityRule",
        RULE | {"sourceAddressPrefix": "*", "destinationPortRange": "*"},
        "ssh opens SSH to *",
    ),
    "the latest machine image": ("no-unpinned-machine-image", MACHINE, image("latest"), "infra:azure.image"),
    "an account that allows public access": (
        "no-public-storage",
        ACCOUNT,
        {"allowBlobPublicAccess": True},
        "anonymous reads of its blobs can be enabled",
    ),
    "an account without public access setting": ("no-public-storage", ACCOUNT, {}, "allow_blob_public_access=False"),
    "a public container": ("no-public-storage", BLOBS, {"publicAccess": "Blob"}, "publicAccess: Blob"),
    "an image by name alone": ("no-unpinned-image", DEPLOYMENT, pod(image="quay.io:443/argoexec"), "has no version"),
    "the latest image": ("no-unpinned-image", DEPLOYMENT, pod(image="mysql:latest"), "mysql:latest has no version"),
    "an image of this project by tag": (
        "no-unpinned-image",
        DEPLOYMENT,
        pod(image="10.20.0.1:5443/mlplatform/model-server:1.0"),
        "must be pinned by digest",
    ),
    "no limits": ("no-container-without-limits", DEPLOYMENT, pod(resources=None), "resources.limits.memory"),
    "no cpu": (
        "no-container-without-limits",
        DEPLOYMENT,
        pod(resources={"limits": {"memory": "1Gi"}}),
        "neither a limit nor a request of cpu",
    ),
    "no user": ("no-root", DEPLOYMENT, pod(securityContext=None), "may run as root"),
    "root": ("no-root", DEPLOYMENT, pod(securityContext={"runAsUser": 0}), "may run as root"),
    "root over the pod's own user": (
        "no-root",
        DEPLOYMENT,
        pod(securityContext={"runAsUser": 0, "runAsNonRoot": False}, context={"runAsUser": 1000}),
        "may run as root",
    ),
    "privileges": (
        "no-root",
        DEPLOYMENT,
        pod(securityContext={"privileged": True, "runAsNonRoot": True}),
        "is privileged, which is allowed in kube-flannel, kube-system",
    ),
    "a password": (
        "no-plain-secret",
        DEPLOYMENT,
        pod(env=[{"name": "DB_PASSWORD", "value": "hunter2"}]),
        "DB_PASSWORD is in clear text in the pod",
    ),
    "a password that is unknown": (
        "no-plain-secret",
        DEPLOYMENT,
        pod(env=[{"name": "AWS_SECRET_ACCESS_KEY", "value": UNKNOWN}]),
        "AWS_SECRET_ACCESS_KEY is in clear text",
    ),
    "a claim without a class": (
        "no-claim-without-class",
        CLAIM_KIND,
        {"metadata": {"name": "data"}, "spec": {}},
        "data has no spec.storageClassName",
    ),
    "a set's claim without a class": (
        "no-claim-without-class",
        SET,
        {"spec": {"volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {}}]}},
        "data has no spec.storageClassName",
    ),
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_policy_of_valid_resource_reports_nothing(case: str, pack: Pack) -> None:
    assert pack.violations(*ACCEPTED[case]) == {}


@pytest.mark.parametrize("case", REJECTED)
def test_policy_of_invalid_resource_reports_violation(case: str, pack: Pack) -> None:
    name, kind, properties, text = REJECTED[case]
    violations = pack.violations(kind, properties)
    assert violations.keys() == {name}
    assert any(text in message for message in violations[name])


def test_message_of_clear_text_secret_omits_the_value(pack: Pack) -> None:
    violations = pack.violations(DEPLOYMENT, pod(env=[{"name": "DB_PASSWORD", "value": "hunter2"}]))
    assert "hunter2" not in str(violations)


POD_SPEC_PATHS: dict[str, tuple[str, ...]] = {
    "kubernetes:core/v1:Pod": ("spec",),
    "kubernetes:batch/v1:Job": ("spec", "template", "spec"),
    "kubernetes:batch/v1:CronJob": ("spec", "jobTemplate", "spec", "template", "spec"),
    "kubernetes:apps/v1:DaemonSet": ("spec", "template", "spec"),
    "kubernetes:apps/v1:StatefulSet": ("spec", "template", "spec"),
}


@pytest.mark.parametrize("kind", POD_SPEC_PATHS)
@pytest.mark.parametrize("containers", ["containers", "initContainers"])
def test_policy_finds_pod_spec_in_every_kind(kind: str, containers: str, pack: Pack) -> None:
    properties: dict[str, Any] = {containers: [CONTAINER | {"image": "mysql:latest"}]}
    for step in reversed(POD_SPEC_PATHS[kind]):
        properties = {step: properties}
    assert pack.violations(kind, properties).keys() == {"no-unpinned-image"}


OPEN = """
import pulumi

rule = {rule!r}
pulumi.CustomResource(
    "azure-native:network:NetworkSecurityGroup", "rules", props={{"resourceGroupName": "g", "securityRules": [rule]}}
)
"""


@pytest.mark.skipif(
    shutil.which("pulumi", path=search_path()) is None, reason="the Pulumi CLI is missing; run `make tools`"
)
def test_preview_with_invalid_resource_fails(tmp_path: Path) -> None:
    program = OPEN.format(rule=RULE | {"sourceAddressPrefix": "0.0.0.0/0"})
    output = stack(tmp_path, program).run("preview", "--policy-pack", str(PACK), code=1)
    assert "ssh opens SSH to 0.0.0.0/0" in output
