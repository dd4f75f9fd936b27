"""Origin of a run: the commit of the program and the content of the data."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping, Sequence

import pulumi
from mlplatform.blob_store import BlobStore

from settings.paths import PROJECT
from settings.workloads import PipelineSettings
from tools.bootstrap.process import CommandError, capture


def git_tags() -> dict[str, str]:
    """Return the git commit of the program, with the suffix `-dirty` after changes.

    Return {} without git or outside a git checkout, and with a warning for any other error of git.
    """
    if shutil.which("git") is None:
        return {}
    describe = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        commit = capture(describe, cwd=PROJECT, env={**os.environ, "LC_ALL": "C"})
    except CommandError as error:
        if "not a git repository" not in str(error):
            pulumi.log.warn(f"the runs get no git commit: {error}")
        return {}
    return {"git_commit": commit.strip()}


def data_fingerprint(pipeline: PipelineSettings, containers: Sequence[BlobStore]) -> str:
    """Return the SHA-256 of the pipeline's data and ONNX file, if this computer has them, and `data_version`.

    Args:
        pipeline: the settings of the pipeline.
        containers: the containers that the pipeline may read, first the one that it reads by default.
    """
    parameters = pipeline.parameters
    content = _file_digest(str(parameters.get("data_url", "")))
    if not content:
        content = _read_container(pipeline, containers).get(str(parameters.get("blob", "")), "")
    known = (content, _file_digest(str(parameters.get("onnx_url", ""))), pipeline.data_version)
    return " ".join(filter(None, known))


def _file_digest(url: str) -> str:
    """Return the SHA-256 of a file of this computer, "" for a folder and for other addresses."""
    from fsspec.core import url_to_fs
    from fsspec.implementations.local import LocalFileSystem
    from fsspec.utils import get_protocol

    if not url or get_protocol(url) not in LocalFileSystem.protocol:
        return ""
    file = PROJECT / url_to_fs(url)[1]
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else ""


def _read_container(pipeline: PipelineSettings, containers: Sequence[BlobStore]) -> Mapping[str, str]:
    """Return the fingerprints of the container that a pipeline reads; {} if it is not one of `containers`."""
    if not containers or "account_url" in pipeline.parameters:
        return {}
    name = pipeline.parameters.get("container", containers[0].container)
    return next((each.fingerprints for each in containers if each.container == name), {})
