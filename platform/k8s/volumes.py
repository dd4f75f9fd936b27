"""Typed descriptions of the volumes of pods, rendered as Kubernetes manifests."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Mount:
    """The path in a container at which a volume of its pod appears."""

    volume: str
    path: str
    read_only: bool = False

    def manifest(self) -> dict[str, Any]:
        """Return one of the container's `volumeMounts`."""
        return {"name": self.volume, "mountPath": self.path, **({"readOnly": True} if self.read_only else {})}


class Volume(ABC):
    """A volume of a pod."""

    @abstractmethod
    def manifest(self) -> dict[str, Any]:
        """Return the source of the volume, without its name."""


@dataclass(frozen=True)
class EmptyDir(Volume):
    """A folder on the node that is deleted with the pod; `size` is a Kubernetes quantity."""

    size: str

    def manifest(self) -> dict[str, Any]:
        """Return the `emptyDir` of the volume."""
        return {"emptyDir": {"sizeLimit": self.size}}


@dataclass(frozen=True)
class Claim(Volume):
    """The volume of a PersistentVolumeClaim."""

    name: str

    def manifest(self) -> dict[str, Any]:
        """Return the `persistentVolumeClaim` of the volume."""
        return {"persistentVolumeClaim": {"claimName": self.name}}


@dataclass(frozen=True)
class SecretFiles(Volume):
    """Files from a Secret: `paths` are file names by key; None takes all keys as names.

    An `optional` Secret may not exist yet.
    """

    secret: str
    paths: Mapping[str, str] | None = None
    optional: bool = False

    def manifest(self) -> dict[str, Any]:
        """Return the `secret` of the volume."""
        optional = {"optional": True} if self.optional else {}
        return {"secret": {"secretName": self.secret, **_items(self.paths), **optional}}


@dataclass(frozen=True)
class ConfigMapFiles(Volume):
    """Files from a ConfigMap: `paths` are file names by key; None takes all keys as names."""

    config_map: str
    paths: Mapping[str, str] | None = None

    def manifest(self) -> dict[str, Any]:
        """Return the `configMap` of the volume."""
        return {"configMap": {"name": self.config_map, **_items(self.paths)}}


@dataclass(frozen=True)
class HostPath(Volume):
    """A folder of the node."""

    path: str

    def manifest(self) -> dict[str, Any]:
        """Return the `hostPath` of the volume."""
        return {"hostPath": {"path": self.path}}


@dataclass(frozen=True)
class AccountToken(Volume):
    """A file `path` with a token of the pod's service account for one audience, renewed every hour."""

    path: str
    audience: str

    def manifest(self) -> dict[str, Any]:
        """Return the `projected` token of the volume."""
        token = {"path": self.path, "expirationSeconds": 3600, "audience": self.audience}
        return {"projected": {"sources": [{"serviceAccountToken": token}]}}


def _items(paths: Mapping[str, str] | None) -> dict[str, Any]:
    return {"items": [{"key": key, "path": path} for key, path in paths.items()]} if paths else {}
