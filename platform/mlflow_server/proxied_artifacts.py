"""Repositories of artifacts whose files pass through MLflow's server.

By default MLflow gives its clients addresses inside the store. Only the pod of the server reaches the store: steps and
model servers are behind network policies, and other computers do not know the store's host name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mlflow.entities import FileInfo
from mlflow.store.artifact import artifact_repository_registry as registry
from mlflow.store.artifact.artifact_repo import ArtifactRepository

SCHEMES = ("s3", "gs", "wasbs", "abfss")
"""Schemes of stores for which MLflow creates addresses for clients."""


class ProxiedArtifactRepository(ArtifactRepository):
    """A repository without uploads and downloads past the server.

    The server then reports that it supports neither, and clients send and request whole files.
    """

    def __init__(self, store: Any) -> None:
        super().__init__(store.artifact_uri, store.tracking_uri, store.registry_uri)
        self._store = store

    def log_artifact(self, local_file: str, artifact_path: str | None = None) -> None:
        """Copy a file to the store."""
        self._store.log_artifact(local_file, artifact_path)

    def log_artifacts(self, local_dir: str, artifact_path: str | None = None) -> None:
        """Copy a folder to the store."""
        self._store.log_artifacts(local_dir, artifact_path)

    def list_artifacts(self, path: str | None = None) -> list[FileInfo]:
        """Return the files and folders of a folder."""
        return list(self._store.list_artifacts(path))

    def delete_artifacts(self, artifact_path: str | None = None) -> None:
        """Delete a file or a folder with all its files."""
        self._store.delete_artifacts(artifact_path)

    def _download_file(self, remote_file_path: str, local_path: str) -> None:
        self._store._download_file(remote_file_path, local_path)


def register_proxied_artifacts() -> None:
    """Let files of stores in the network pass through this server."""
    registered: Any = registry._artifact_repository_registry
    for scheme in SCHEMES:
        registered.register(scheme, _proxied(registered.get_registered_artifact_repositories()[scheme]))


def _proxied(repository: Any) -> Callable[..., ProxiedArtifactRepository]:
    def create(uri: str, **options: Any) -> ProxiedArtifactRepository:
        return ProxiedArtifactRepository(repository(uri, **options))

    return create
