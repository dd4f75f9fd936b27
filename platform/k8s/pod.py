"""Typed descriptions of pods and their containers, rendered as Kubernetes manifests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
from mlplatform.k8s.namespace import CONTAINER_SECURITY, POD, POD_SECURITY, USER
from mlplatform.k8s.pull_secret import NAME as PULL_SECRET
from mlplatform.k8s.volumes import Mount, Volume


@dataclass(frozen=True)
class SecretKey:
    """The value of an environment variable: one key of a Secret."""

    secret: str
    key: str

    def manifest(self) -> dict[str, Any]:
        """Return the `valueFrom` of the variable."""
        return {"secretKeyRef": {"name": self.secret, "key": self.key}}


@dataclass(frozen=True)
class PodField:
    """The value of an environment variable: a field of the pod itself, such as `metadata.name`."""

    path: str

    def manifest(self) -> dict[str, Any]:
        """Return the `valueFrom` of the variable."""
        return {"fieldRef": {"fieldPath": self.path}}


EnvironmentValue = pulumi.Input[str] | SecretKey | PodField


@dataclass(frozen=True)
class Resources:
    """Requests and limits of a container: a pair of Kubernetes quantities (request, limit) for each resource."""

    cpu: tuple[str, str]
    memory: tuple[str, str]
    ephemeral_storage: tuple[str, str] | None = None

    def manifest(self) -> dict[str, Any]:
        """Return the `resources` of a container."""
        pairs = {"cpu": self.cpu, "memory": self.memory}
        if self.ephemeral_storage:
            pairs["ephemeral-storage"] = self.ephemeral_storage
        return {
            "requests": {name: request for name, (request, _) in pairs.items()},
            "limits": {name: limit for name, (_, limit) in pairs.items()},
        }


@dataclass(frozen=True)
class HttpGet:
    """A check that succeeds when GET `path` on `port` returns a status from 200 to 399."""

    path: str
    port: int

    def manifest(self) -> dict[str, Any]:
        """Return the handler of a probe."""
        return {"httpGet": {"path": self.path, "port": self.port}}


@dataclass(frozen=True)
class TcpConnect:
    """A check that succeeds when `port` accepts a connection."""

    port: int

    def manifest(self) -> dict[str, Any]:
        """Return the handler of a probe."""
        return {"tcpSocket": {"port": self.port}}


@dataclass(frozen=True)
class Command:
    """A check that succeeds when a command in the container exits with code 0."""

    arguments: Sequence[str]

    def manifest(self) -> dict[str, Any]:
        """Return the handler of a probe."""
        return {"exec": {"command": list(self.arguments)}}


@dataclass(frozen=True)
class Probe:
    """A check that the kubelet repeats every `period` seconds; None takes Kubernetes' default (1 s, 3 failures)."""

    check: HttpGet | TcpConnect | Command
    period: int
    timeout: int | None = None
    failures: int | None = None

    def manifest(self) -> dict[str, Any]:
        """Return the probe of a container."""
        optional = {"timeoutSeconds": self.timeout, "failureThreshold": self.failures}
        return {
            **self.check.manifest(),
            "periodSeconds": self.period,
            **{name: value for name, value in optional.items() if value is not None},
        }


@dataclass(frozen=True)
class Probes:
    """The probes of a container. Until `startup` succeeds, the other two are not run."""

    startup: Probe | None = None
    readiness: Probe | None = None
    liveness: Probe | None = None

    def manifest(self) -> dict[str, Any]:
        """Return the probes of a container by field."""
        probes = {"startupProbe": self.startup, "readinessProbe": self.readiness, "livenessProbe": self.liveness}
        return {field: probe.manifest() for field, probe in probes.items() if probe}


@dataclass(frozen=True)
class Container:
    """A container with a read-only root file system and without capabilities.

    `ports` are numbers by name.
    """

    name: str
    image: pulumi.Input[str]
    resources: Resources
    command: Sequence[str] = ()
    args: Sequence[str] = ()
    working_directory: str | None = None
    environment: Mapping[str, EnvironmentValue] | None = None
    ports: Mapping[str, int] | None = None
    probes: Probes = Probes()
    mounts: Sequence[Mount] = ()

    def manifest(self) -> dict[str, Any]:
        """Return the container of a pod specification, without the fields that are not set."""
        fields: dict[str, Any] = {
            "command": list(self.command),
            "args": list(self.args),
            "workingDir": self.working_directory,
            "env": [_variable(name, value) for name, value in (self.environment or {}).items()],
            "ports": [{"name": name, "containerPort": port} for name, port in (self.ports or {}).items()],
            **self.probes.manifest(),
            "resources": self.resources.manifest(),
            "volumeMounts": [mount.manifest() for mount in self.mounts],
        }
        return {
            "name": self.name,
            "image": self.image,
            **{name: value for name, value in fields.items() if value},
            "securityContext": CONTAINER_SECURITY,
        }


def _variable(name: str, value: EnvironmentValue) -> dict[str, Any]:
    if isinstance(value, SecretKey | PodField):
        return {"name": name, "valueFrom": value.manifest()}
    return {"name": name, "value": value}


@dataclass(frozen=True)
class Pod:
    """A pod that runs as a user other than root.

    `volumes` are by the name that mounts use. `account` is a service account whose token the pod gets; without one the
    pod has no token. `grace_seconds` is the time between SIGTERM and SIGKILL, None for Kubernetes' 30 s.
    """

    containers: Sequence[Container]
    init_containers: Sequence[Container] = ()
    volumes: Mapping[str, Volume] | None = None
    account: str | None = None
    user: int = USER
    grace_seconds: int | None = None
    tolerations: Sequence[Mapping[str, str]] | None = None

    def manifest(self) -> dict[str, Any]:
        """Return the pod specification."""
        optional = {"terminationGracePeriodSeconds": self.grace_seconds, "tolerations": self.tolerations}
        user = {"runAsUser": self.user, "runAsGroup": self.user, "fsGroup": self.user}
        return {
            **POD,
            **({"serviceAccountName": self.account, "automountServiceAccountToken": True} if self.account else {}),
            "imagePullSecrets": [{"name": PULL_SECRET}],
            "securityContext": POD_SECURITY | user,
            **{name: value for name, value in optional.items() if value is not None},
            "initContainers": [container.manifest() for container in self.init_containers],
            "containers": [container.manifest() for container in self.containers],
            "volumes": [{"name": name, **volume.manifest()} for name, volume in (self.volumes or {}).items()],
        }


def server_probes(check: HttpGet | TcpConnect, timeout: int = 3) -> Probes:
    """Return probes that allow a server five minutes to start, and then check it every 5 and 20 seconds."""
    return Probes(
        startup=Probe(check, period=1, timeout=timeout, failures=300),
        readiness=Probe(check, period=5, timeout=timeout),
        liveness=Probe(check, period=20, timeout=timeout, failures=6),
    )
