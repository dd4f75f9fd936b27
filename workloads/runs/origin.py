"""Origin of a run: the commit of the program and the content of the data."""

from __future__ import annotations

import hashlib

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


def data_fingerprint(pipeline: PipelineSettings, blobs: BlobStore | None) -> str:
    """Return the SHA-256 of the pipeline's data, if this computer has them, and the setting `data_version`."""
    url = str(pipeline.parameters.get("data_url", ""))
    file = PROJECT / url.removeprefix("file://")
    if url and file.is_file():
        content = hashlib.sha256(file.read_bytes()).hexdigest()
    else:
        fingerprints = blobs.fingerprints if blobs else {}
        content = fingerprints.get(str(pipeline.parameters.get("blob", "")), "")
    return f"{content} {pipeline.data_version}".strip()
