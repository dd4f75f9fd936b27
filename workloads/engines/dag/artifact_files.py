"""Files of artifacts: copies of remote ones, which a step reads at `artifact.path`."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from workloads.engines.dag.parameter_values import ParameterError
from workloads.ml.data.storage import file_system

Artifact = dict[str, Any]
"""Artifact in the format of kfp's executor: {"name", "type": {"schemaTitle", ...}, "uri", "metadata"}."""

REMOTE_SCHEMES = ("s3", "http", "https")
CLUSTER_SCHEMES = ("gs", "minio", "oci")


def artifact_scheme(uri: str) -> str:
    """Return the scheme of an artifact's address; "" for a path.

    Raises:
        ParameterError: only Kubeflow Pipelines reads the address.
    """
    scheme = urlsplit(uri).scheme if "://" in uri else ""
    if scheme not in ("", "file", *REMOTE_SCHEMES):
        hint = "set platform:pipelines: kubeflow" if scheme in CLUSTER_SCHEMES else "no engine reads it"
        raise ParameterError(
            f"the address {uri} of an artifact is not a path, nor an address of "
            f"{', '.join(f'{name}://' for name in ('file', *REMOTE_SCHEMES))}; {hint}"
        )
    return scheme


class ArtifactFiles:
    """Copies of remote artifacts in a folder, one for each address."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._copies: dict[str, asyncio.Task[str]] = {}

    async def localize(self, artifacts: Mapping[str, list[Artifact]]) -> dict[str, list[Artifact]]:
        """Return the artifacts by name, with paths of this computer as their addresses.

        Raises:
            ParameterError: an artifact cannot be read.
        """
        return {name: [await self._local(each) for each in found] for name, found in artifacts.items()}

    async def _local(self, artifact: Artifact) -> Artifact:
        uri = artifact["uri"]
        scheme = artifact_scheme(uri)
        if scheme == "":
            return artifact
        if scheme == "file":
            return {**artifact, "uri": urlsplit(uri).path}
        if uri not in self._copies:
            self._copies[uri] = asyncio.create_task(asyncio.to_thread(self._copy, uri))
        download = self._copies[uri]
        try:
            return {**artifact, "uri": await download}
        except ParameterError:
            if self._copies.get(uri) is download:  # a retry of the step downloads it again
                del self._copies[uri]
            raise

    def _copy(self, uri: str) -> str:
        target = (
            self._folder / hashlib.sha256(uri.encode()).hexdigest()[:16] / (Path(urlsplit(uri).path).name or "file")
        )
        shutil.rmtree(target.parent, ignore_errors=True)
        target.parent.mkdir(parents=True)
        try:
            files, path = file_system(uri)
            files.get(path, str(target), recursive=files.isdir(path))
        except Exception as error:  # each file system has its own errors
            raise ParameterError(f"the artifact {uri} cannot be read: {type(error).__name__}: {error}") from error
        return str(target)
