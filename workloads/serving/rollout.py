"""The change of a Deployment, followed to its end: one whose pods do not come up is taken back."""

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
from workloads.serving.pod_spread import Pods

if TYPE_CHECKING:
    import pulumi_kubernetes as kubernetes

DIGEST = "mlplatform/template"
"""Annotation of a pod template: what it is told by from the others of its Deployment."""
UNAWAITED = {"pulumi.com/skipAwait": "true"}
"""Annotation of a Deployment that a `Rollout` waits for."""
LOOK_SECONDS = 1
SAID_LINES = 5
MANAGER = "mlplatform-rollout"
"""Who changes the Deployment in the eyes of the API server."""
HAND_OVER_TRIES = 10
CHANGED_MEANWHILE = {409, 422}
"""Answers to a change of something that is not as it was looked at."""


def digested(template: dict[str, Any]) -> dict[str, Any]:
    """A pod template with its own digest as an annotation."""
    digest = hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:16]
    return template | {"metadata": template["metadata"] | {"annotations": {DIGEST: digest}}}


class _RolloutProvider(DynamicProvider):
    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        return DiffResult(changes=any_changed(_olds, _news, ("digest", "uid", "spread")))

    def create(self, props: dict[str, Any]) -> CreateResult:
        _roll_out(props)
        return CreateResult(f"{props['namespace']}/{props['deployment']}", props)

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        return UpdateResult(self.create(_news).outs)

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        return ReadResult(id_, props | {"spread": _spread(props)})


class Rollout(Resource, module="workloads", name="Rollout"):
    """Waits until all pods of a Deployment are those of its newest template, and available.

    Where they are not within the Deployment's progress deadline, the Deployment gets the template back whose pods
    served before; the next `up` with the same settings tries the new one again.

    Where a machine has two more of them than another that takes pods, as when that one was away for long, they move.

    Args:
        name: that of the Deployment.
        labels: those by which it knows its pods.
        deployment: one whose pod template is of `digested`.
        template: that template.

    Raises (as a failed resource):
        UserError: the pods did not come up, with what they said last; or the cluster cannot be asked.
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
            # One that was made anew is waited for, too.
            "uid": deployment.metadata.apply(lambda found: found.uid),
            "digest": template.apply(lambda known: known["metadata"]["annotations"][DIGEST]),
            # Reading may find that they are not.
            "spread": True,
        }
        waits = pulumi.ResourceOptions(depends_on=[deployment])
        super().__init__(_RolloutProvider(), name, props, pulumi.ResourceOptions.merge(waits, opts))


def _roll_out(props: dict[str, Any]) -> None:
    api = KubernetesClient(props["kubeconfig"])
    deployment = _Deployment(api, props["namespace"], props["deployment"])
    wanted = props["digest"]
    if deployment.digest() != wanted:
        deployment.take_template(deployment.replica_set(wanted))
    problem = deployment.problem()
    if problem is None:
        _pods(api, props).spread_anew(deployment.read().spec.progress_deadline_seconds)
        return
    told = f"{deployment}: {problem}"
    for said in deployment.said(wanted):
        told += f"\n  {said}"
    before = deployment.serving_before(wanted)
    if before is None:
        raise UserError(f"{told}\nThere are no pods before these that could go on.")
    deployment.take_template(before)
    raise UserError(
        f"{told}\nThe pods before these serve on, and the Deployment is set back to them. "
        "The next `up` tries again, with other settings or the same."
    )


def _pods(api: KubernetesClient, props: dict[str, Any]) -> Pods:
    return Pods(api, props["namespace"], props["labels"])


def _spread(props: dict[str, Any]) -> bool:
    """Whether the pods are spread now, or were when the cluster was last asked, where it cannot be."""
    from kubernetes.client import ApiException  # type: ignore[import-untyped]
    from kubernetes.config import ConfigException  # type: ignore[import-untyped]
    from urllib3.exceptions import HTTPError

    if "labels" not in props:
        return False  # Of a version that did not ask this: the next update has them.
    try:
        return _pods(KubernetesClient(props["kubeconfig"]), props).spread()
    except (ApiException, ConfigException, HTTPError):
        return bool(props.get("spread"))


class _Deployment:
    def __init__(self, api: KubernetesClient, namespace: str, name: str) -> None:
        self._api = api
        self._namespace = namespace
        self._name = name

    def __str__(self) -> str:
        return f"{self._namespace}/{self._name}"

    def read(self) -> Any:
        """As it is now.

        Raises:
            UserError: it is not there.
        """
        read = self._api.apps.read_namespaced_deployment
        found = self._api.none_if_missing(lambda: read(self._name, self._namespace))
        if found is None:
            raise UserError(f"{self}: somebody has deleted it; `make up ARGS=--refresh` sees that, and makes it anew")
        return found

    def digest(self) -> str | None:
        """That of the template that it has now."""
        return _digest(self.read())

    def replica_set(self, digest: str) -> Any:
        """The ReplicaSet with the template of this digest.

        Raises:
            UserError: there is none.
        """
        found = next((each for each in self._replica_sets() if _digest(each) == digest), None)
        if found is None:
            raise UserError(
                f"{self}: somebody else has changed it; `make up ARGS=--refresh` sees that, and sets it right"
            )
        return found

    def serving_before(self, digest: str) -> Any | None:
        """The newest ReplicaSet of another template that has pods that serve."""
        served = [each for each in self._replica_sets() if _digest(each) != digest and each.status.available_replicas]
        return max(served, key=_revision, default=None)

    def problem(self) -> str | None:
        """Wait until all pods are the newest and available; why they are not, where nothing moves for the deadline."""
        seen: tuple[int | None, ...] = ()
        since = time.monotonic()
        while True:
            found = self.read()
            status, wanted = found.status, found.spec.replicas
            counts = (status.replicas, status.updated_replicas, status.available_replicas)
            settled = (status.observed_generation or 0) >= found.metadata.generation
            if settled and all((count or 0) == wanted for count in counts):
                return None
            if counts != seen:
                seen, since = counts, time.monotonic()
            if time.monotonic() - since > (deadline := found.spec.progress_deadline_seconds):
                return f"its new pods do not serve within {deadline} s"
            time.sleep(LOOK_SECONDS)

    def said(self, digest: str) -> Iterator[str]:
        """What keeps the pods of a template from serving, in the words of the cluster and of the pods."""
        found = self.read()
        for condition in found.status.conditions or []:
            if condition.type == "ReplicaFailure":
                yield condition.message
        selector = ",".join(f"{key}={value}" for key, value in found.spec.selector.match_labels.items())
        pods = self._api.retry(
            lambda: self._api.core.list_namespaced_pod(self._namespace, label_selector=selector).items
        )
        for pod in pods:
            if (pod.metadata.annotations or {}).get(DIGEST) == digest:
                for words in [*waiting_reasons(pod), *termination_messages(pod), *self._unready(pod)]:
                    yield f"{pod.metadata.name}: {words}"

    def take_template(self, replica_set: Any) -> None:
        """Give the Deployment the template of one of its ReplicaSets."""
        template = self._api.to_json(replica_set.spec.template)
        template["metadata"]["labels"].pop("pod-template-hash", None)
        self._api.retry(lambda: self._patch([{"op": "replace", "path": "/spec/template", "value": template}]))
        for _ in range(HAND_OVER_TRIES):
            if self._handed_over():
                return
        pulumi.log.warn(f"{self}: what was set back stays {MANAGER}'s, as the Deployment was changed all the time")

    def _handed_over(self) -> bool:
        """Make what was set here belong to whoever applied the Deployment, who could not remove it otherwise."""
        from kubernetes.client import ApiException

        found = self.read()
        entries = self._api.to_json(found.metadata.managed_fields)
        mine = [entry for entry in entries if entry["manager"] == MANAGER]
        applied = next((e for e in entries if e["operation"] == "Apply" and "subresource" not in e), None)
        if not mine or applied is None:
            return True
        for entry in mine:
            applied["fieldsV1"] = _united(applied["fieldsV1"], entry["fieldsV1"])
        same = {"op": "test", "path": "/metadata/resourceVersion", "value": found.metadata.resource_version}
        rest = [entry for entry in entries if entry not in mine]
        try:
            self._patch([same, {"op": "replace", "path": "/metadata/managedFields", "value": rest}])
        except ApiException as error:
            if error.status in CHANGED_MEANWHILE:
                return False
            raise
        return True

    def _patch(self, operations: list[dict[str, Any]]) -> None:
        self._api.apps.patch_namespaced_deployment(self._name, self._namespace, operations, field_manager=MANAGER)

    def _unready(self, pod: Any) -> Iterator[str]:
        """The last lines of containers that run without being ready: those left no word at an end."""
        for status in pod.status.container_statuses or []:
            if status.state.running and not status.ready:
                for line in self._last_lines(pod.metadata.name, status.name):
                    yield f"{status.name}: {line}"

    def _last_lines(self, pod: str, container: str) -> list[str]:
        log = self._api.none_if_missing(
            lambda: self._api.core.read_namespaced_pod_log(
                pod, self._namespace, container=container, tail_lines=SAID_LINES
            )
        )
        return (log or "").splitlines()

    def _replica_sets(self) -> list[Any]:
        uid = self.read().metadata.uid
        found = self._api.retry(lambda: self._api.apps.list_namespaced_replica_set(self._namespace).items)
        return [each for each in found if any(owner.uid == uid for owner in each.metadata.owner_references or [])]


def _digest(one: Any) -> str | None:
    """That of the pod template of a Deployment or ReplicaSet."""
    found: str | None = (one.spec.template.metadata.annotations or {}).get(DIGEST)
    return found


def _revision(replica_set: Any) -> int:
    return int(replica_set.metadata.annotations["deployment.kubernetes.io/revision"])


def _united(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Two sets of fields as one; each is a tree of their names."""
    return {key: _united(one.get(key, {}), other.get(key, {})) for key in one.keys() | other.keys()}
