"""Rollout of a Deployment: wait for the new pods, and roll back if they do not become ready."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, ReadResult, Resource, UpdateResult

from infra.dynamic_provider import DynamicProvider, UserError, any_changed
from infra.kubernetes_client.client import KubernetesClient
from infra.kubernetes_client.pod_logs import termination_messages, waiting_reasons
from workloads.serving.pod_spread import PodSpread

if TYPE_CHECKING:
    import pulumi_kubernetes as kubernetes

DIGEST = "mlplatform/template"
"""Annotation key for the template digest; identifies the ReplicaSet of a template."""
POLL_SECONDS = 1
LOG_LINES = 5
MANAGER = "mlplatform-rollout"
"""Field manager of a rollback in the API server."""
TRANSFER_ATTEMPTS = 10
CONFLICTS = {409, 422}
"""HTTP statuses of a patch of an object that changed since it was read."""


def with_digest(template: dict[str, Any]) -> dict[str, Any]:
    """Return a pod template with its own digest as an annotation."""
    digest = hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:16]
    metadata = template["metadata"]
    return template | {"metadata": metadata | {"annotations": {**metadata.get("annotations", {}), DIGEST: digest}}}


class _RolloutProvider(DynamicProvider):
    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        return DiffResult(changes=any_changed(_olds, _news, ("digest", "uid", "spread")))

    def create(self, props: dict[str, Any]) -> CreateResult:
        _roll_out(props)
        return CreateResult(f"{props['namespace']}/{props['deployment']}", props)

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        return UpdateResult(self.create(_news).outs)

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        return ReadResult(id_, props | {"spread": _is_spread(props)})


class Rollout(Resource, module="workloads", name="Rollout"):
    """Rollout of a Deployment's newest pod template to all of its pods.

    The rollout fails if the pods are not available within the Deployment's progress deadline. It then rolls back to
    the template of the pods that served before. The next `up` with the same settings tries the new template again.

    The rollout also moves pods away from a node that has at least two pods more than another schedulable node.

    Args:
        name: the name of the Deployment.
        labels: the pod labels in the Deployment's selector.
        deployment: a Deployment whose pod template is a result of `with_digest`.
        template: that pod template.

    Raises (as a failed resource):
        UserError: the pods did not become available, with their last messages; or the API server did not respond.
    """

    def __init__(
        self,
        name: str,
        *,
        kubeconfig: pulumi.Input[str],
        namespace: str,
        labels: dict[str, str],
        deployment: kubernetes.apps.v1.Deployment,
        template: pulumi.Output[dict[str, Any]],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        props = {
            "kubeconfig": pulumi.Output.secret(kubeconfig),
            "namespace": namespace,
            "deployment": name,
            "labels": labels,
            # A replaced Deployment has a new uid: the rollout waits for it, too.
            "uid": deployment.metadata.apply(lambda metadata: metadata.uid),
            "digest": template.apply(lambda known: known["metadata"]["annotations"][DIGEST]),
            # A refresh sets False if the pods are not spread; the next `up` then sees a difference.
            "spread": True,
        }
        waits = pulumi.ResourceOptions(depends_on=[deployment])
        super().__init__(_RolloutProvider(), name, props, pulumi.ResourceOptions.merge(waits, opts))


def _roll_out(props: dict[str, Any]) -> None:
    api = KubernetesClient(props["kubeconfig"])
    deployment = _Deployment(api, props["namespace"], props["deployment"])
    digest = props["digest"]
    if deployment.digest() != digest:
        deployment.set_template(deployment.replica_set(digest))
    problem = deployment.wait_until_available()
    if problem is None:
        _pod_spread(api, props).rebalance(deployment.read().spec.progress_deadline_seconds)
        return
    error = "\n  ".join([f"{deployment}: {problem}", *deployment.pod_messages(digest)])
    previous = deployment.previous_replica_set(digest)
    if previous is None:
        raise UserError(f"{error}\nThere is no earlier version with available pods to roll back to.")
    deployment.set_template(previous)
    raise UserError(
        f"{error}\nThe Deployment was rolled back to its previous pods, which still serve. The next `up` tries the new "
        "version again."
    )


def _pod_spread(api: KubernetesClient, props: dict[str, Any]) -> PodSpread:
    return PodSpread(api, props["namespace"], props["labels"])


def _is_spread(props: dict[str, Any]) -> bool:
    """Return True if the pods are spread; the last known value if the API server does not respond."""
    from kubernetes.client import ApiException  # type: ignore[import-untyped]
    from kubernetes.config import ConfigException  # type: ignore[import-untyped]
    from urllib3.exceptions import HTTPError

    try:
        return _pod_spread(KubernetesClient(props["kubeconfig"]), props).is_even()
    except (ApiException, ConfigException, HTTPError):
        return bool(props["spread"])


class _Deployment:
    """Deployment with pod templates that have a digest, and its ReplicaSets."""

    def __init__(self, api: KubernetesClient, namespace: str, name: str) -> None:
        self._api = api
        self._namespace = namespace
        self._name = name

    def __str__(self) -> str:
        return f"{self._namespace}/{self._name}"

    def read(self) -> Any:
        """Return the current Deployment.

        Raises:
            UserError: the Deployment does not exist.
        """
        read = self._api.apps.read_namespaced_deployment
        deployment = self._api.none_if_missing(lambda: read(self._name, self._namespace))
        if deployment is None:
            raise UserError(f"{self}: Deployment not found, it was deleted outside Pulumi; run `make up` to create it")
        return deployment

    def digest(self) -> str | None:
        """Return the digest of the current pod template."""
        return _digest(self.read())

    def replica_set(self, digest: str) -> Any:
        """Return the ReplicaSet of the template with this digest.

        Raises:
            UserError: there is no such ReplicaSet.
        """
        replica_set = next((each for each in self._replica_sets() if _digest(each) == digest), None)
        if replica_set is None:
            raise UserError(f"{self}: the pod template was changed outside Pulumi; run `make up` to restore it")
        return replica_set

    def previous_replica_set(self, digest: str) -> Any | None:
        """Return the newest ReplicaSet of another template with available pods; None without one."""
        candidates = [
            each for each in self._replica_sets() if _digest(each) != digest and each.status.available_replicas
        ]
        return max(candidates, key=_revision, default=None)

    def wait_until_available(self) -> str | None:
        """Wait until all pods have the current template and are available.

        Returns:
            None on success; the problem if the counts of pods did not change for the progress deadline.
        """
        last_counts: tuple[int | None, ...] = ()
        last_change = time.monotonic()
        while True:
            deployment = self.read()
            status = deployment.status
            counts = (status.replicas, status.updated_replicas, status.available_replicas)
            observed = (status.observed_generation or 0) >= deployment.metadata.generation
            if observed and all((count or 0) == deployment.spec.replicas for count in counts):
                return None
            if counts != last_counts:
                last_counts, last_change = counts, time.monotonic()
            if time.monotonic() - last_change > (deadline := deployment.spec.progress_deadline_seconds):
                return f"its new pods do not serve within {deadline} s"
            time.sleep(POLL_SECONDS)

    def pod_messages(self, digest: str) -> Iterator[str]:
        """Yield the reasons why the pods of a template do not serve, from the cluster and from the pods."""
        deployment = self.read()
        for condition in deployment.status.conditions or []:
            if condition.type == "ReplicaFailure":
                yield condition.message
        selector = ",".join(f"{key}={value}" for key, value in deployment.spec.selector.match_labels.items())
        pods = self._api.retry(
            lambda: self._api.core.list_namespaced_pod(self._namespace, label_selector=selector).items
        )
        for pod in pods:
            if (pod.metadata.annotations or {}).get(DIGEST) == digest:
                for message in [*waiting_reasons(pod), *termination_messages(pod), *self._unready_logs(pod)]:
                    yield f"{pod.metadata.name}: {message}"

    def set_template(self, replica_set: Any) -> None:
        """Set the pod template to the template of one of the ReplicaSets."""
        template = self._api.to_json(replica_set.spec.template)
        template["metadata"]["labels"].pop("pod-template-hash", None)
        self._api.retry(lambda: self._patch([{"op": "replace", "path": "/spec/template", "value": template}]))
        for _ in range(TRANSFER_ATTEMPTS):
            if self._transfer_ownership():
                return
        pulumi.log.warn(
            f"{self}: {MANAGER} remains the owner of the template's fields, because the Deployment changed during "
            f"{TRANSFER_ATTEMPTS} attempts to transfer them"
        )

    def _transfer_ownership(self) -> bool:
        """Transfer the fields of a rollback to the manager that applied the Deployment.

        Server-side apply cannot remove fields that another manager owns.

        Returns:
            False if the Deployment changed meanwhile.
        """
        from kubernetes.client import ApiException

        deployment = self.read()
        entries = self._api.to_json(deployment.metadata.managed_fields)
        rollbacks = [entry for entry in entries if entry["manager"] == MANAGER]
        applied = next((e for e in entries if e["operation"] == "Apply" and "subresource" not in e), None)
        if not rollbacks or applied is None:
            return True
        for entry in rollbacks:
            applied["fieldsV1"] = _union(applied["fieldsV1"], entry["fieldsV1"])
        version = deployment.metadata.resource_version
        unchanged = {"op": "test", "path": "/metadata/resourceVersion", "value": version}
        others = [entry for entry in entries if entry not in rollbacks]
        try:
            self._patch([unchanged, {"op": "replace", "path": "/metadata/managedFields", "value": others}])
        except ApiException as error:
            if error.status in CONFLICTS:
                return False
            raise
        return True

    def _patch(self, operations: list[dict[str, Any]]) -> None:
        self._api.apps.patch_namespaced_deployment(self._name, self._namespace, operations, field_manager=MANAGER)

    def _unready_logs(self, pod: Any) -> Iterator[str]:
        """Yield the last log lines of running containers that are not ready; they have no termination message."""
        for status in pod.status.container_statuses or []:
            if status.state.running and not status.ready:
                for line in self._last_log_lines(pod.metadata.name, status.name):
                    yield f"{status.name}: {line}"

    def _last_log_lines(self, pod: str, container: str) -> list[str]:
        log = self._api.none_if_missing(
            lambda: self._api.core.read_namespaced_pod_log(
                pod, self._namespace, container=container, tail_lines=LOG_LINES
            )
        )
        return (log or "").splitlines()

    def _replica_sets(self) -> list[Any]:
        uid = self.read().metadata.uid
        replica_sets = self._api.retry(lambda: self._api.apps.list_namespaced_replica_set(self._namespace).items)
        return [
            each for each in replica_sets if any(owner.uid == uid for owner in each.metadata.owner_references or [])
        ]


def _digest(workload: Any) -> str | None:
    """Return the digest of the pod template of a Deployment or a ReplicaSet."""
    digest: str | None = (workload.spec.template.metadata.annotations or {}).get(DIGEST)
    return digest


def _revision(replica_set: Any) -> int:
    return int(replica_set.metadata.annotations["deployment.kubernetes.io/revision"])


def _union(fields: dict[str, Any], more_fields: dict[str, Any]) -> dict[str, Any]:
    """Return the union of two field sets of `managedFields`: trees of field names."""
    names = fields.keys() | more_fields.keys()
    return {name: _union(fields.get(name, {}), more_fields.get(name, {})) for name in names}
