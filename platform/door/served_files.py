"""The end of an update of the door: its pods serve the files of the settings, and know all services in them.

Without a new pod, a changed file reaches the pods within two minutes unless the pods change, too. The name of a new
service is known within seconds.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import pulumi
from mlplatform.door.audit import NAMESPACE
from mlplatform.door.door_pod import HTTP_PORT, NAME, PODS
from pulumi.dynamic import CreateResult, DiffResult, Resource, UpdateResult

from infra.cluster import Cluster
from infra.dynamic_provider import DynamicProvider, UserError, any_changed

if TYPE_CHECKING:
    from infra.kubernetes_client.client import KubernetesClient

FILES = ("services", "routes.conf", "releases.conf", "access.json")
"""Files of the settings, in the order in which `serve.sh` reads them."""
SECONDS = 240
"""Time for the new files. Kubelets update mounted files within two minutes."""
PAUSE_SECONDS = 1
REQUEST_SECONDS = 10
FORBIDDEN = 403
ANNOTATION = "mlplatform/files"
"""Annotation of a pod with the time when its files changed."""


class _ServedFilesProvider(DynamicProvider):
    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        return DiffResult(changes=any_changed(_olds, _news, ("files",)))

    def create(self, props: dict[str, Any]) -> CreateResult:
        wait_until_served(props["kubeconfig"], props["files"])
        return CreateResult(NAME, props)

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        wait_until_served(_news["kubeconfig"], _news["files"])
        return UpdateResult(_news)


class ServedFiles(Resource, module="platform", name="ServedFiles"):
    """Files of the settings that all pods of the door serve.

    Args:
        cluster: the cluster of the door.
        files: the digest of the files, of `digest`.
        services: the door, and the services behind it.

    Raises (as a failed resource):
        UserError: a pod does not serve the files after four minutes.
    """

    def __init__(self, cluster: Cluster, files: pulumi.Input[str], services: Sequence[pulumi.Resource]) -> None:
        options = pulumi.ResourceOptions(
            depends_on=[*cluster.depends_on, *services],
            deleted_with=cluster.resource,
            additional_secret_outputs=["kubeconfig"],
        )
        props = {"kubeconfig": cluster.kubeconfig, "files": files}
        super().__init__(_ServedFilesProvider(), "door-served-files", props, options)


def digest(files: Mapping[str, str]) -> str:
    """Return the SHA-256 of the files of the settings among `files`, the texts by name."""
    return hashlib.sha256("".join(files[name] for name in FILES).encode()).hexdigest()


def wait_until_served(kubeconfig: str, files: str) -> None:
    """Wait until each pod of the door serves the files with this digest, and knows an address of each service.

    It only warns if the kubeconfig does not allow requests to pods.

    Raises:
        UserError: a pod does not after `SECONDS`.
    """
    from kubernetes.client import ApiException  # type: ignore[import-untyped]

    from infra.kubernetes_client.client import KubernetesClient
    from infra.retry import poll

    client = KubernetesClient(kubeconfig)
    refresh_files(client)
    reasons: list[str] = []

    def served() -> bool | None:
        reasons[:] = _reasons(client, files)
        return None if reasons else True

    try:
        in_time = poll(served, timeout=SECONDS, interval=PAUSE_SECONDS)
    except ApiException as error:
        pulumi.log.warn(
            f"the door serves the settings of this update within {SECONDS // 60} minutes; `make up` cannot see when, "
            f"because the cluster refuses to get pods/proxy in the namespace {NAMESPACE} ({error.reason})"
        )
        return
    if in_time is None:
        raise UserError(
            f"the door does not serve the settings of this update: {'; '.join(reasons)}. Its services that did not "
            f"change are served as before. `make kubectl ARGS='logs --namespace {NAMESPACE} deployment/{NAME} nginx'` "
            "may say more; the next `up` waits again"
        )


def refresh_files(client: KubernetesClient) -> None:
    """Annotate the pods of the door: kubelets then update their mounted files at once instead of within two minutes.

    It does nothing if the cluster refuses or does not answer.
    """
    from kubernetes.client import ApiException

    changed = {"metadata": {"annotations": {ANNOTATION: datetime.now(UTC).isoformat()}}}
    with suppress(ApiException, UserError):
        for name in _pods(client):
            client.none_if_missing(partial(client.core.patch_namespaced_pod, name, NAMESPACE, changed))


def _pods(client: KubernetesClient) -> list[str]:
    """Return the names of the pods that neither end nor have ended: the object of an evicted pod stays."""
    selector = ",".join(f"{name}={value}" for name, value in PODS.items())
    pods = client.retry(lambda: client.core.list_namespaced_pod(NAMESPACE, label_selector=selector)).items
    return [
        pod.metadata.name
        for pod in pods
        if pod.metadata.deletion_timestamp is None and pod.status.phase not in ("Failed", "Succeeded")
    ]


def _reasons(client: KubernetesClient, files: str) -> Iterator[str]:
    """Yield the reason of each pod that does not serve the files yet."""
    names = _pods(client)
    if not names:
        yield "it has no pod"
    for name in names:
        if reason := _reason(client, name, files):
            yield f"the pod {name} {reason}"


def _reason(client: KubernetesClient, pod: str, files: str) -> str:
    """Return why a pod does not serve the files yet, "" if it does.

    Raises:
        ApiException: the kubeconfig does not allow the request.
    """
    from kubernetes.client import ApiException
    from urllib3.exceptions import HTTPError

    try:
        response = client.core.connect_get_namespaced_pod_proxy_with_path(
            f"{pod}:{HTTP_PORT}", NAMESPACE, "door/serves", _preload_content=False, _request_timeout=REQUEST_SECONDS
        )
        answer = json.loads(response.data)
    except (ApiException, HTTPError, ValueError) as error:
        if isinstance(error, ApiException) and error.status == FORBIDDEN:
            raise
        return f"does not answer ({getattr(error, 'reason', '') or error})"
    if answer["files"] != files:
        return "does not serve the new files yet"
    return f"knows no address of {answer['unknown']} services" if answer["unknown"] else ""
