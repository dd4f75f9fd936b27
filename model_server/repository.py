"""Where the model comes from: a folder, or MLflow's registry over its REST interface."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

import requests

from model_server.errors import ModelRefused
from model_server.model.package import MODEL_FILE, SIGNATURE_FILE, ModelPackage, verified
from model_server.settings import Settings

TIMEOUT = (3, 30)
"""Seconds to connect and between two bytes."""


class Found(NamedTuple):
    """What a source offers now: two that are equal are the same model."""

    version: str | None
    hashes: tuple[tuple[str, str], ...]
    """SHA-256 that `model.onnx` must have, each after who says so."""
    offline: bool = False
    """Known from the cache alone."""


class DirectoryRepository:
    """A folder with the two files of a model."""

    follows = False
    """Whether another model may be offered later."""

    def __init__(self, settings: Settings) -> None:
        assert settings.directory
        self._folder = settings.directory
        self._offer = Found(settings.version, _pin(settings))

    def find(self) -> Found:
        """What is offered now."""
        return self._offer

    def fetch(self, found: Found) -> ModelPackage:
        """The model. Raises ModelRefused where a hash is wrong, OSError where a file cannot be read."""
        return verified(*_files(self._folder), found.version, dict(found.hashes))


class MlflowRepository:
    """One registered model of an MLflow server: a pinned version, or the one that has an alias.

    Fetched models stay in `<cache>/<model>/<version>/`. A pinned version that is there is served even while the
    registry does not answer.
    """

    def __init__(self, settings: Settings) -> None:
        # Settings has made sure of these three.
        self._url = f"{settings.registry}".rstrip("/") + "/api/2.0"
        self._model = settings.model or ""
        self._cache = (settings.cache or Path()) / self._model
        self._pin = _pin(settings)
        self._version = settings.version
        self._alias = settings.alias
        self.follows = settings.alias is not None

    def find(self) -> Found:
        """What is offered now. Raises OSError where the registry does not say."""
        wanted = {"name": self._model}
        try:
            if self._alias:
                answer = self._ask("registered-models/alias", wanted | {"alias": self._alias})
            else:
                answer = self._ask("model-versions/get", wanted | {"version": str(self._version)})
        except RepositoryUnavailable:
            if self._version and (self._cache / self._version / SIGNATURE_FILE).is_file():
                return Found(self._version, self._pin, offline=True)
            raise
        found = answer["model_version"]
        tags = [("the registry", tag["value"]) for tag in found.get("tags", []) if tag["key"] == "sha256"]
        return Found(_plain(found["version"]), (*self._pin, *tags))

    def fetch(self, found: Found) -> ModelPackage:
        """The model. Raises ModelRefused where a hash is wrong, OSError where it cannot be had for the moment."""
        assert found.version
        folder = self._cache / found.version
        # Without a hash, nothing tells whether the registry still means what was fetched from it once.
        if found.offline or found.hashes:
            try:
                return verified(*_files(folder), found.version, dict(found.hashes))
            except (OSError, ModelRefused):
                if found.offline:
                    raise
        files = self._download(found.version)
        package = verified(files[MODEL_FILE], files[SIGNATURE_FILE], found.version, dict(found.hashes))
        _keep(files, folder)
        return package

    def _download(self, version: str) -> dict[str, bytes]:
        answer = self._ask("model-versions/get-download-uri", {"name": self._model, "version": version})
        place = urlsplit(answer["artifact_uri"])
        if place.scheme != "mlflow-artifacts":
            raise ModelRefused(f"its files are at {place.scheme}:, which the registry does not serve as artifacts")
        base = f"{self._url}/mlflow-artifacts/artifacts/{quote(place.path.strip('/'))}"
        return {name: _get(f"{base}/{name}").content for name in (MODEL_FILE, SIGNATURE_FILE)}

    def _ask(self, call: str, parameters: Mapping[str, str]) -> Any:
        return _get(f"{self._url}/mlflow/{call}", parameters).json()


class RepositoryUnavailable(OSError):
    """The registry does not answer, or answers that it cannot for the moment."""


def _get(url: str, parameters: Mapping[str, str] | None = None) -> requests.Response:
    try:
        answer = requests.get(url, parameters, timeout=TIMEOUT)
    except requests.RequestException as error:
        raise RepositoryUnavailable(f"the registry does not answer ({type(error).__name__})") from None
    if answer.status_code >= 500:
        raise RepositoryUnavailable(f"the registry answers {answer.status_code}")
    if answer.status_code != 200:
        raise OSError(f"the registry answers {answer.status_code}: {answer.text[:300]}")
    return answer


Source = DirectoryRepository | MlflowRepository


def _pin(settings: Settings) -> tuple[tuple[str, str], ...]:
    return (("MODEL_SERVER_SHA256", settings.sha256),) if settings.sha256 else ()


def _files(folder: Path) -> tuple[bytes, bytes]:
    return (folder / MODEL_FILE).read_bytes(), (folder / SIGNATURE_FILE).read_bytes()


def _keep(files: Mapping[str, bytes], folder: Path) -> None:
    """Write the files so that no reader, in this or another worker, ever sees half of one."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        part = folder / f".{name}.{os.getpid()}"
        part.write_bytes(content)
        part.replace(folder / name)


def _plain(version: Any) -> str:
    """The version as a registry numbers it: it names a folder and stands in URLs."""
    if not str(version).isdigit():
        raise ValueError(f"{version!r} is not a version number")
    return str(version)
