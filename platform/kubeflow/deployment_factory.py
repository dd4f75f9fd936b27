"""What the parts of Kubeflow Pipelines have in common: each is a Deployment with one pod."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes
from mlplatform.images.image import Image
from mlplatform.k8s.namespace import CONTAINER_SECURITY, DNS, EVERYWHERE, POD, POD_SECURITY, Namespace
from mlplatform.k8s.rbac import Rules, service_account

NAMESPACE = "kubeflow"
PARTS = {"app.kubernetes.io/part-of": "kubeflow-pipelines"}
STEPS = {"pipelines.kubeflow.org/v2_component": "true"}
"""Labels that the API server gives the pods of runs."""
USER = 1000
SMALL = {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"cpu": "500m", "memory": "128Mi"}}
WAIT = """import socket, sys, time
for address in sys.argv[1:]:
    host, _, port = address.partition(":")
    while True:
        try:
            socket.create_connection((host, int(port)), 2).close()
            break
        except OSError as error:
            print(f"waiting for {address}: {error}", flush=True)
            time.sleep(1)
"""
"""A connection to a Service without a pod may hang instead of being refused, so what comes up first waits here."""
API_SERVER: dict[str, Any] = {
    **EVERYWHERE,
    "ports": [{"protocol": "TCP", "port": 443}, {"protocol": "TCP", "port": 6443}],
}
"""Egress to the API server of Kubernetes: behind its Service it is at the machines' addresses."""
NEIGHBOURS: dict[str, Any] = {"podSelector": {}}


@dataclass(frozen=True)
class DeploymentFactory:
    """Builds the Deployments and Services of a namespace; `libraries` is an image with Python in it."""

    room: Namespace
    libraries: Image

    def labels(self, name: str) -> dict[str, str]:
        return {"app": name, **PARTS}

    def metadata(self, name: str) -> dict[str, Any]:
        return {"name": name, "namespace": self.room.name, "labels": self.labels(name)}

    def account(self, name: str, rules: Rules) -> list[pulumi.Resource]:
        """A service account of that name, with rights in the namespace alone."""
        return service_account(name, self.room.name, self.room.cluster, *self.room.resources, at_home=rules)

    def secret(self, name: str, content: Mapping[str, pulumi.Input[str]]) -> kubernetes.core.v1.Secret:
        return kubernetes.core.v1.Secret(
            name, metadata=self.metadata(name), string_data=dict(content), opts=self.room.options()
        )

    def config(self, name: str, content: Mapping[str, pulumi.Input[str]]) -> kubernetes.core.v1.ConfigMap:
        return kubernetes.core.v1.ConfigMap(
            name, metadata=self.metadata(name), data=dict(content), opts=self.room.options()
        )

    def deployment(
        self,
        name: str,
        containers: Sequence[Mapping[str, Any]],
        *depends_on: pulumi.Resource,
        wait_for: Sequence[str] = (),
        settings: Sequence[kubernetes.core.v1.ConfigMap | kubernetes.core.v1.Secret] = (),
        first: Sequence[Mapping[str, Any]] = (),
        volumes: Mapping[str, Mapping[str, Any]] | None = None,
        account: str | None = None,
        user: int = USER,
    ) -> kubernetes.apps.v1.Deployment:
        """A Deployment with one pod.

        Args:
            containers: all that is theirs alone; the security context comes from here.
            wait_for: `host:port` of what has to accept connections before the pod's containers start.
            settings: what its containers read at their start alone: other content makes another pod.
            first: init containers, after that.
            volumes: by name; each container mounts what it names.
            account: the service account, whose token the pod gets; none where unset.
        """
        waits = [
            {
                "name": "wait",
                "image": self.libraries.reference,
                "command": ["python3", "-c", WAIT, *wait_for],
                "resources": SMALL,
            }
        ]
        pod = {
            **POD,
            **({"serviceAccountName": account, "automountServiceAccountToken": True} if account else {}),
            # Images come by the nodes' mirrors, but for the one that is our own.
            "imagePullSecrets": [{"name": "registry"}],
            "securityContext": POD_SECURITY | {"runAsUser": user, "runAsGroup": user, "fsGroup": user},
            "terminationGracePeriodSeconds": 10,
            "initContainers": [_secured(container) for container in [*(waits if wait_for else []), *first]],
            "containers": [_secured(container) for container in containers],
            "volumes": [{"name": key, **volume} for key, volume in (volumes or {}).items()],
        }
        labels = self.labels(name)
        return kubernetes.apps.v1.Deployment(
            name,
            metadata=self.metadata(name),
            spec={
                "replicas": 1,
                # None of them may be there twice: they keep a volume, or act on what they see.
                "strategy": {"type": "Recreate"},
                "selector": {"matchLabels": {"app": name}},
                "template": {
                    "metadata": {"labels": labels, "annotations": {"settings": _digest(settings)}},
                    "spec": pod,
                },
            },
            opts=self.room.options(*settings, *depends_on),
        )

    def service(
        self, name: str, app: str, ports: Mapping[str, tuple[int, int]], kind: str = "ClusterIP"
    ) -> kubernetes.core.v1.Service:
        """A Service for the pod of `app`, there when that is ready; `ports` are port and the pod's own port by name."""
        return kubernetes.core.v1.Service(
            name,
            metadata=self.metadata(name),
            spec={
                "type": kind,
                "selector": {"app": app},
                "ports": [{"name": key, "port": port, "targetPort": target} for key, (port, target) in ports.items()],
            },
            opts=self.room.options(),
        )

    def admit(
        self, name: str, *ports: int, sources: Sequence[Mapping[str, Any]] = (NEIGHBOURS,), egress: Sequence[Any] = ()
    ) -> kubernetes.networking.v1.NetworkPolicy:
        """Let pods of the namespace, or those of `sources` (empty: anybody), connect to these ports of a part.

        The part itself may ask DNS, and go where `egress` says.
        """
        rule: dict[str, Any] = {"ports": [{"protocol": "TCP", "port": port} for port in ports]}
        if sources:
            rule["from"] = list(sources)
        return self.room.allow(
            name, {"app": name}, ingress=[rule] if ports else [], egress=[DNS, {"to": [NEIGHBOURS]}, *egress]
        )


def egress_outside(port: int) -> dict[str, Any]:
    """Egress to a port of whatever is outside of the namespace."""
    return {**EVERYWHERE, "ports": [{"protocol": "TCP", "port": port}]}


def _digest(settings: Sequence[kubernetes.core.v1.ConfigMap | kubernetes.core.v1.Secret]) -> pulumi.Output[str]:
    contents = pulumi.Output.all(*(each.data for each in settings))
    found = contents.apply(lambda known: hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest())
    return pulumi.Output.unsecret(found)


def _secured(container: Mapping[str, Any]) -> dict[str, Any]:
    return {**container, "securityContext": CONTAINER_SECURITY}


def from_secret(variable: str, secret: str, key: str) -> dict[str, Any]:
    """An environment variable that comes out of a Secret."""
    return {"name": variable, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}


def env_vars(values: Mapping[str, pulumi.Input[str]]) -> list[dict[str, Any]]:
    """Environment variables."""
    return [{"name": name, "value": value} for name, value in values.items()]


def http_probes(path: str, port: int) -> dict[str, Any]:
    """The three probes of what answers HTTP at `path`."""
    health = {"httpGet": {"path": path, "port": port}, "timeoutSeconds": 3}
    return {
        "startupProbe": health | {"periodSeconds": 1, "failureThreshold": 300},
        "readinessProbe": health | {"periodSeconds": 5},
        "livenessProbe": health | {"periodSeconds": 20, "failureThreshold": 6},
    }
