"""Origin of a run: the commit of the program and the content of the data."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from mlplatform.blob_store import BlobStore

from settings.paths import PROJECT
from settings.workloads import PipelineSettings
from tools.bootstrap.process import CommandError, capture


def git_tags() -> dict[str, str]:
    """Return the git commit of the program, with the suffix `-dirty` after changes; {} outside a git checkout."""
    try:
        commit = capture(["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"], cwd=PROJECT)
    except CommandError:
        return {}
    return {"git_commit": commit.strip()}


def data_fingerprint(pipeline: PipelineSettings, containers: Sequence[BlobStore]) -> str:
    """Return the SHA-256 of the pipeline's data, if this computer has them, and the setting `data_version`.

    Args:
        pipeline: the settings of the pipeline.
        containers: the containers that the pipeline may read, first the one that it reads by default.
    """
    url = str(pipeline.parameters.get("data_url", ""))
    file = PROJECT / url.removeprefix("file://")
    if url and file.is_file():
        content = hashlib.sha256(file.read_bytes()).hexdigest()
    else:
        content = _read_container(pipeline, containers).get(str(pipeline.parameters.get("blob", "")), "")
    return f"{content} {pipeline.data_version}".strip()


def _read_container(pipeline: PipelineSettings, containers: Sequence[BlobStore]) -> Mapping[str, str]:
    """Return the fingerprints of the container that a pipeline reads; {} if it is not one of `containers`."""
    if not containers or "account_url" in pipeline.parameters:
        return {}
    name = pipeline.parameters.get("container", containers[0].container)
    return next((each.fingerprints for each in containers if each.container == name), {})
