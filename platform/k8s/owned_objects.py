"""Labels that identify the objects of a stack in a cluster that exists, and the requests that read them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
import yaml

from infra.cluster import MANAGED
from infra.errors import UserError

OWNER = "mlplatform/owner"
"""Label of each object with the identity of its stack."""
RELEASED = "mlplatform/released"
"""Annotation of objects that `pulumi destroy` left in the cluster. A later stack with the same identity takes them."""
LABEL_LENGTH = 63
REQUEST_SECONDS = 20
RBAC = "/apis/rbac.authorization.k8s.io/v1"
PATHS = {
    "APIService": "/apis/apiregistration.k8s.io/v1/apiservices",
    "ClusterRole": f"{RBAC}/clusterroles",
    "ClusterRoleBinding": f"{RBAC}/clusterrolebindings",
    "CustomResourceDefinition": "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
    "Deployment": "/apis/apps/v1/namespaces/{namespace}/deployments",
    "Namespace": "/api/v1/namespaces",
    "RoleBinding": f"{RBAC}/namespaces/{{namespace}}/rolebindings",
    "Service": "/api/v1/namespaces/{namespace}/services",
    "ServiceAccount": "/api/v1/namespaces/{namespace}/serviceaccounts",
    "StorageClass": "/apis/storage.k8s.io/v1/storageclasses",
}
"""Path of the API by kind."""
CLUSTER = "/api/v1/namespaces/kube-system"
"""The namespace whose UID identifies a cluster."""
API_SERVICE = "/api/v1/namespaces/default/services/kubernetes"
API_ENDPOINTS = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes"
Json = Mapping[str, Any]


@dataclass(frozen=True)
class ClusterObject:
    """An object that a stack creates, and the `remedy` if it exists without the stack's labels.

    `namespace` is "" for an object of the whole cluster.
    """

    kind: str
    name: str
    remedy: str
    namespace: str = ""

    @property
    def path(self) -> str:
        """Return the path of the object in the API."""
        return f"{PATHS[self.kind].format(namespace=self.namespace)}/{self.name}"

    def __str__(self) -> str:
        """Return kind and name, as `kubectl get` takes them."""
        return f"{self.kind} {self.name}" + (f" in the namespace {self.namespace}" if self.namespace else "")


def owner_labels(project: str, stack: str) -> dict[str, str]:
    """Return the labels of the objects of a stack. A name that is no label value gets a digest."""
    identity = f"{project}.{stack}"
    if len(identity) > LABEL_LENGTH or not re.fullmatch(r"[A-Za-z0-9]([\w.-]*[A-Za-z0-9])?", identity, re.ASCII):
        readable = re.sub(r"[^A-Za-z0-9.-]+", "-", identity)[: LABEL_LENGTH - 17].strip("-.")
        identity = f"{readable}-{hashlib.sha256(identity.encode()).hexdigest()[:16]}"
    return {**MANAGED, OWNER: identity}


def take_ownership(news: Json, olds: Json | None = None) -> dict[str, Any]:
    """Return the outputs of `ObjectOwnership` if no object belongs to another owner.

    Objects in the state `olds` are not checked again, unless the kubeconfig leads to another cluster.

    Raises:
        UserError: as `ObjectOwnership` does. Nothing in the cluster is changed then.
    """
    api = _Api(news["kubeconfig"])
    uid = (api.find(CLUSTER) or {}).get("metadata", {}).get("uid", "")
    known = olds if olds and (olds["cluster_uid"], olds["owner"]) == (uid, news["owner"]) else None
    checked = {ClusterObject(**each) for each in known["objects"]} if known else set()
    paths = {each.path for each in checked}
    existing = []
    for each in (ClusterObject(**values) for values in news["objects"]):
        if each.path not in paths and (found := api.find(each.path)):
            existing.append((each, found))
    faults = [_fault(each, found, news["owner"], known is not None) for each, found in existing]
    if lines := [f"- {fault}" for fault in faults if fault]:
        raise UserError(
            f"the cluster at {api.host} has objects that do not belong to this stack. Nothing in the cluster was "
            "changed. Solve each, then run `make up` again:\n" + "\n".join(lines)
        )
    for each, found in existing:
        if RELEASED in _annotations(found):
            api.annotate(each.path, {RELEASED: None})
    classes = {name: claim["spec"].get("storageClassName", "") for name, claim in _claims(api, news)}
    return {"cluster_uid": uid, "claim_classes": classes, "api_addresses": _api_addresses(api)}


def release(props: Json) -> None:
    """Mark the objects that remain in the cluster, and log the volumes in them.

    Raises:
        UserError: the cluster does not answer, or refuses a request.
    """
    api = _Api(props["kubeconfig"])
    kept = [f"{name} ({claim['spec']['resources']['requests']['storage']})" for name, claim in _claims(api, props)]
    for each in (ClusterObject(**values) for values in props["objects"]):
        found = api.find(each.path)
        if found and _labels(found).get(OWNER) == props["owner"] and "deletionTimestamp" not in found["metadata"]:
            api.annotate(each.path, {RELEASED: "true"})
    if kept:
        namespaces = sorted({name.partition("/")[0] for name in kept})
        pulumi.log.warn(
            f"kept these volumes in the cluster at {api.host}, by platform:retain_volumes: {', '.join(kept)}. The next "
            f"`make up` takes them again. To delete them: kubectl delete namespace {' '.join(namespaces)}"
        )


def _fault(each: ClusterObject, found: Json, owner: str, resumes: bool) -> str | None:
    """Return the reason and the remedy if the object is not this stack's; `resumes`: the stack has used the cluster."""
    labels = _labels(found)
    if not MANAGED.items() <= labels.items() or OWNER not in labels:
        return f"{each}: another program or person created it. {each.remedy}"
    if labels[OWNER] != owner:
        return f"{each}: it belongs to the stack {labels[OWNER]}. {each.remedy}"
    if not resumes and RELEASED not in _annotations(found):
        place = f"--namespace {each.namespace} " if each.namespace else ""
        return (
            f"{each}: a stack of this name uses it, from another state. Use that state. If it is lost, take the object "
            f"over: kubectl annotate {place}{each.kind.lower()} {each.name} {RELEASED}=true"
        )
    return None


def _claims(api: _Api, props: Json) -> Iterator[tuple[str, Json]]:
    """Yield the claims of this stack as `namespace/name` and object."""
    for values in props["objects"]:
        if values["kind"] != "Namespace":
            continue
        path = f"/api/v1/namespaces/{values['name']}/persistentvolumeclaims"
        for claim in (api.find(path) or {}).get("items", []):
            if _labels(claim).get(OWNER) == props["owner"]:
                yield f"{values['name']}/{claim['metadata']['name']}", claim


def _api_addresses(api: _Api) -> list[str]:
    """Return the IPv4 addresses of the API server for pods: of its Service, and behind it."""
    service, endpoints = api.find(API_SERVICE) or {}, api.find(API_ENDPOINTS) or {}
    behind = [address for each in endpoints.get("endpoints") or [] for address in each["addresses"]]
    addresses = [service.get("spec", {}).get("clusterIP", ""), *behind]
    return sorted({address for address in addresses if re.fullmatch(r"[0-9.]+", address)})


def _labels(found: Json) -> Mapping[str, str]:
    return found["metadata"].get("labels") or {}


def _annotations(found: Json) -> Mapping[str, str]:
    return found["metadata"].get("annotations") or {}


class _Api:
    """Requests to the API server of a kubeconfig."""

    def __init__(self, kubeconfig: str) -> None:
        from kubernetes import config  # type: ignore[import-untyped]

        self._client = config.new_client_from_config_dict(yaml.safe_load(kubeconfig))
        self.host = str(self._client.configuration.host)

    def find(self, path: str) -> Json | None:
        """Return the object or list at a path, None if the path does not exist."""
        return self._request("GET", path)

    def annotate(self, path: str, annotations: Mapping[str, str | None]) -> None:
        """Set annotations of the object at a path; None removes one."""
        self._request("PATCH", path, {"metadata": {"annotations": dict(annotations)}})

    def _request(self, method: str, path: str, body: Json | None = None) -> Json | None:
        from kubernetes.client import ApiException  # type: ignore[import-untyped]
        from urllib3.exceptions import HTTPError

        headers = {"Accept": "application/json", "Content-Type": "application/merge-patch+json"}
        try:
            answer: Json = self._client.call_api(
                path,
                method,
                header_params=headers,
                body=body,
                response_type="object",
                auth_settings=["BearerToken"],
                _return_http_data_only=True,
                _request_timeout=REQUEST_SECONDS,
            )
        except ApiException as error:
            if error.status == 404:
                return None
            raise UserError(
                f"the cluster at {self.host} answered {error.status} {error.reason} to {method} {path}: check the "
                "rights of the kubeconfig's user"
            ) from None
        except (HTTPError, OSError) as error:
            raise UserError(
                f"the cluster at {self.host} does not answer: {error}. Check that it admits this computer"
            ) from None
        return answer
