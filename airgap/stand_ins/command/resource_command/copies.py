"""The resources that copy files to another computer, `CopyToRemote` and the older `CopyFile`."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import paramiko

from .check import Failure
from .errors import Failed
from .fields import COPY_FILE, COPY_TO_REMOTE, Field
from .operation import Operation
from .ssh import connected
from .transfer import copy, copy_file, copy_text
from .values import ARCHIVE, Asset, Properties, reveal

_EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
"""The hash of an empty text, which has no `text` field."""


class _Copy:
    """What both have in common: no outputs besides the inputs, and nothing to do on deletion."""

    outputs: Mapping[str, Field] = {}

    def identify(self, name: str, preview: bool) -> str:
        return "" if preview else secrets.token_hex(4)

    def delete(self, state: Properties, operation: Operation) -> None:
        """What was copied stays."""


class CopyToRemote(_Copy):
    """Copies a file, a folder or a text; again when the source's content or the remote path has changed."""

    fields = COPY_TO_REMOTE

    def check(self, inputs: Properties) -> list[Failure]:
        source = reveal(inputs.get("source"))
        if not isinstance(source, Asset) or source.path:
            return []
        if source.signature == ARCHIVE:
            return [Failure("archive", "archive must be a path to a file or directory")]
        if source.text or (not source.fields.get("uri") and source.hash in ("", _EMPTY)):
            return []
        return [Failure("asset", "asset must be a path-based file asset or a text asset")]

    def create(self, inputs: Properties, operation: Operation) -> Properties:
        arguments = reveal(inputs)
        source, target = arguments["source"], arguments["remotePath"]
        with _sftp(arguments["connection"], operation) as sftp:
            if source.path:
                copy(sftp, source.path, target)
            else:
                copy_text(sftp, source.text, target)
        return {}

    def update(self, state: Properties, inputs: Properties, operation: Operation) -> Properties:
        if all(reveal(inputs.get(name)) == reveal(state.get(name)) for name in ("source", "remotePath")):
            return {}
        return self.create(inputs, operation)


class CopyFile(_Copy):
    """Copies a file; every change replaces it."""

    fields = COPY_FILE

    def check(self, inputs: Properties) -> list[Failure]:
        return []

    def create(self, inputs: Properties, operation: Operation) -> Properties:
        arguments = reveal(inputs)
        with _sftp(arguments["connection"], operation) as sftp:
            copy_file(sftp, Path(arguments["localPath"]), arguments["remotePath"])
        return {}


@contextmanager
def _sftp(connection: Mapping[str, Any], operation: Operation) -> Iterator[paramiko.SFTPClient]:
    with connected(connection, operation) as transport:
        try:
            with transport.open_session() as channel:
                channel.invoke_subsystem("sftp")
                with paramiko.SFTPClient(channel) as sftp:
                    yield sftp
        except (paramiko.SSHException, EOFError, OSError) as error:
            operation.check()
            raise Failed(f"{connection['host']}: sftp: {error or 'the connection was lost'}") from error
        except Failed:
            operation.check()  # a cancelled copy fails by its closed connection
            raise
