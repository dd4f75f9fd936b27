"""Sources of a model: a folder, or the registry of an MLflow server over its REST API."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

import requests

from model_server.errors import ModelRefused, RepositoryError, RepositoryUnavailable
from model_server.model.model_package import MODEL_FILE, SIGNATURE_FILE, ModelPackage, read_package, verify_package
from model_server.settings import ServerSettings

TIMEOUT = (3, 30)
"""Seconds to connect, and between two bytes of a response."""


class Offer(NamedTuple):
    """A model that a repository offers; equal offers are the same model."""

    version: str | None
    hashes: tuple[tuple[str, str], ...]
    """SHA-256 that `model.onnx` must have, each after its source."""
    offline: bool = False
    """True if only the cache has the model at the moment."""


class DirectoryRepository:
    """A folder with the two files of a model."""

    follows = False
    """True if the repository may offer another model later."""

    def __init__(self, settings: ServerSettings) -> None:
        assert settings.directory
        self._folder = settings.directory
        self._offer = Offer(settings.version, _pinned_hash(settings))

    def find(self) -> Offer:
        """Return the current offer."""
        return self._offer

    def fetch(self, offer: Offer) -> ModelPackage:
        """Return the model. Raises ModelRefused for a wrong hash, OSError if a file cannot be read."""
        return read_package(self._folder, offer.version, dict(offer.hashes))


class MlflowRepository:
    """A registered model of an MLflow server: a pinned version, or the version with an alias.

    Fetched models stay in `<cache>/<model>/<version>/`. A pinned version in the cache is served even while the
    registry does not respond.
    """

    def __init__(self, settings: ServerSettings) -> None:
        # Settings guarantees the registry, the model and the cache.
        self._url = f"{settings.registry}".rstrip("/") + "/api/2.0"
        self._model = settings.model or ""
        self._cache = (settings.cache or Path()) / self._model
        self._pinned_hash = _pinned_hash(settings)
        self._version = settings.version
        self._alias = settings.alias
        self.follows = settings.alias is not None

    def find(self) -> Offer:
        """Return the current offer. Raises RepositoryError if the registry does not name a version."""
        name = {"name": self._model}
        try:
            if self._alias:
                response = self._call("registered-models/alias", name | {"alias": self._alias})
            else:
                response = self._call("model-versions/get", name | {"version": str(self._version)})
        except RepositoryUnavailable:
            if self._version and (self._cache / self._version / SIGNATURE_FILE).is_file():
                return Offer(self._version, self._pinned_hash, offline=True)
            raise
        version = response["model_version"]
        tags = [("the registry", tag["value"]) for tag in version.get("tags", []) if tag["key"] == "sha256"]
        return Offer(_version_number(version["version"]), (*self._pinned_hash, *tags))

    def fetch(self, offer: Offer) -> ModelPackage:
        """Return the model. Raises ModelRefused for a wrong hash, OSError if the model cannot be fetched now."""
        assert offer.version
        folder = self._cache / offer.version
        # Without a hash, the cached files may differ from what the registry has by now.
        if offer.offline or offer.hashes:
            try:
                return read_package(folder, offer.version, dict(offer.hashes))
            except (OSError, ModelRefused):
                if offer.offline:
                    raise
        files = self._download(offer.version)
        package = verify_package(files[MODEL_FILE], files[SIGNATURE_FILE], offer.version, dict(offer.hashes))
        _write_files(files, folder)
        return package

    def _download(self, version: str) -> dict[str, bytes]:
        response = self._call("model-versions/get-download-uri", {"name": self._model, "version": version})
        uri = urlsplit(response["artifact_uri"])
        if uri.scheme != "mlflow-artifacts":
            raise ModelRefused("the registry does not serve its files as artifacts", f"they are at {uri.geturl()}")
        base = f"{self._url}/mlflow-artifacts/artifacts/{quote(uri.path.strip('/'))}"
        names = (MODEL_FILE, SIGNATURE_FILE)
        return {name: self._get(f"{base}/{name}", f"{name} of version {version}").content for name in names}

    def _call(self, endpoint: str, parameters: Mapping[str, str]) -> Any:
        response = self._get(f"{self._url}/mlflow/{endpoint}", endpoint, parameters)
        try:
            return response.json()
        except ValueError:
            raise RepositoryError(f"the registry's response to {endpoint} is not JSON", response.text[:300]) from None

    def _get(self, url: str, requested: str, parameters: Mapping[str, str] | None = None) -> requests.Response:
        try:
            response = requests.get(url, parameters, timeout=TIMEOUT)
        except requests.RequestException as error:
            raise RepositoryUnavailable(f"the registry does not respond ({type(error).__name__})", str(error)) from None
        if response.status_code == 200:
            return response
        error_type = RepositoryUnavailable if response.status_code >= 500 else RepositoryError
        message = f"the registry responded {response.status_code} to {requested} for the model {self._model}"
        raise error_type(message, response.text[:300])


Repository = DirectoryRepository | MlflowRepository


def repository(settings: ServerSettings) -> Repository | None:
    """Return the repository that the settings name; None if they name no model."""
    if settings.directory:
        return DirectoryRepository(settings)
    if settings.version or settings.alias:
        return MlflowRepository(settings)
    return None


def _pinned_hash(settings: ServerSettings) -> tuple[tuple[str, str], ...]:
    return (("MODEL_SERVER_SHA256", settings.sha256),) if settings.sha256 else ()


def _write_files(files: Mapping[str, bytes], folder: Path) -> None:
    """Write each file atomically: other workers read the same cache."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        temporary = folder / f".{name}.{os.getpid()}"
        temporary.write_bytes(content)
        temporary.replace(folder / name)


def _version_number(version: Any) -> str:
    """Return a registry's version number; it becomes a folder name and part of URLs, so only digits are allowed."""
    if not str(version).isdigit():
        raise ValueError(f"{version!r} is not a version number")
    return str(version)
