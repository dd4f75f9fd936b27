"""Resources that copy files to another computer: `CopyToRemote` and the older `CopyFile`."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import paramiko

from airgap.stand_ins.command.resource_command.errors import OperationFailed
from airgap.stand_ins.command.resource_command.inputs.fields import COPY_FILE, COPY_TO_REMOTE, Field
from airgap.stand_ins.command.resource_command.operation import Operation
from airgap.stand_ins.command.resource_command.remote.file_transfer import copy, copy_file, copy_text
from airgap.stand_ins.command.resource_command.ssh.connection import open_transport
from airgap.stand_ins.protocol.property_values import ARCHIVE, Asset, Properties, reveal
from airgap.stand_ins.protocol.requests import InputFault

_EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
"""The hash of an empty text, which has no `text` field."""


class _Copy:
    """A copy: its inputs are its only outputs, and deletion leaves the copied files."""

    outputs: Mapping[str, Field] = {}

    def identify(self, name: str, preview: bool) -> str:
        """Return a random id, empty in a preview."""
        return "" if preview else secrets.token_hex(4)

    def delete(self, state: Properties, operation: Operation) -> None:
        """Leave the copied files."""


class CopyToRemote(_Copy):
    """A copy of a file, a folder or a text, repeated when the source's content or the remote path has changed."""

    fields = COPY_TO_REMOTE

    def check(self, inputs: Properties) -> list[InputFault]:
        """Return a fault unless the source is a file, a folder or a text."""
        source = reveal(inputs.get("source"))
        if not isinstance(source, Asset) or source.path:
            return []
        if source.signature == ARCHIVE:
            return [InputFault("archive", "archive must be a path to a file or directory")]
        if source.text or (not source.fields.get("uri") and source.hash in ("", _EMPTY)):
            return []
        return [InputFault("asset", "asset must be a path-based file asset or a text asset")]

    def create(self, inputs: Properties, operation: Operation) -> Properties:
        """Copy the source to the remote path."""
        arguments = reveal(inputs)
        source, target = arguments["source"], arguments["remotePath"]
        with _sftp(arguments["connection"], operation) as sftp:
            if source.path:
                copy(sftp, source.path, target)
            else:
                copy_text(sftp, source.text, target)
        return {}

    def update(self, state: Properties, inputs: Properties, operation: Operation) -> Properties:
        """Copy again if the source or the remote path has changed."""
        if all(reveal(inputs.get(name)) == reveal(state.get(name)) for name in ("source", "remotePath")):
            return {}
        return self.create(inputs, operation)


class CopyFile(_Copy):
    """A copy of a file; every change replaces the resource."""

    fields = COPY_FILE

    def check(self, inputs: Properties) -> list[InputFault]:
        """Return no faults: the fields describe all rules."""
        return []

    def create(self, inputs: Properties, operation: Operation) -> Properties:
        """Copy the file to exactly the remote path."""
        arguments = reveal(inputs)
        with _sftp(arguments["connection"], operation) as sftp:
            copy_file(sftp, Path(arguments["localPath"]), arguments["remotePath"])
        return {}


@contextmanager
def _sftp(connection: Mapping[str, Any], operation: Operation) -> Iterator[paramiko.SFTPClient]:
    """Yield an SFTP session on the host.

    Raises:
        OperationFailed: the host is unreachable, or the session failed.
    """
    with open_transport(connection, operation) as transport:
        try:
            with transport.open_session() as channel:
                channel.invoke_subsystem("sftp")
                with paramiko.SFTPClient(channel) as sftp:
                    yield sftp
        except (paramiko.SSHException, EOFError, OSError) as error:
            operation.check()
            raise OperationFailed(f"{connection['host']}: sftp: {error or 'the connection was lost'}") from error
        except OperationFailed:
            operation.check()  # cancelling closes the connection, which fails the copy
            raise
