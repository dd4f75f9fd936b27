"""File transfer over SFTP, with the official provider's rules for target paths and the server's default modes."""

from __future__ import annotations

import io
import posixpath
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import paramiko

from airgap.stand_ins.command.resource_command.errors import OperationFailed

_CHUNK = 32768


def copy(sftp: paramiko.SFTPClient, source: str, target: str) -> None:
    """Copy a file or a folder.

    - A folder `dir` goes to `target/dir`, and the content of a folder `dir/` goes to `target`.
    - A file goes to `target/file` if the target is a folder, else to `target`.

    Raises:
        OperationFailed: a folder's target is a file, or the transfer failed.
    """
    path = Path(source)
    if path.is_dir():
        make_folders(sftp, target)
        _copy_folder(sftp, path, target if source.endswith("/") else _join(target, path.name))
        return
    mode = _mode(sftp, target)
    if stat.S_ISDIR(mode):
        target = _join(target, path.name)
    elif not mode:
        make_folders(sftp, posixpath.dirname(target))
    copy_file(sftp, path, target)


def copy_text(sftp: paramiko.SFTPClient, text: str, target: str) -> None:
    """Write `text` to the file `target`.

    Raises:
        OperationFailed: the target is a folder or cannot be written.
    """
    if stat.S_ISDIR(_mode(sftp, target)):
        raise OperationFailed(
            f"remote path {target} is a directory; when using a text asset, remotePath must be a file path"
        )
    make_folders(sftp, posixpath.dirname(target))
    _send(sftp, io.BytesIO(text.encode()), "text", target)


def copy_file(sftp: paramiko.SFTPClient, source: Path, target: str) -> None:
    """Copy a file to exactly `target`."""
    with _errors_as_failure(f"open {source}"):
        file = source.open("rb")
    with file:
        _send(sftp, file, f"file {source}", target)


def make_folders(sftp: paramiko.SFTPClient, path: str) -> None:
    """Create a folder and its parents."""
    if not path:
        return
    mode = _mode(sftp, path)
    if mode and not stat.S_ISDIR(mode):
        raise OperationFailed(f"remote path {path} exists but is not a directory")
    if mode:
        return
    make_folders(sftp, posixpath.dirname(path.rstrip("/")))
    try:
        sftp.mkdir(path)
    except (paramiko.SSHException, EOFError, OSError) as error:
        if not stat.S_ISDIR(_mode(sftp, path)):  # another resource may have created it
            raise OperationFailed(f"failed to create remote directory {path}: {_reason(error)}") from error


def _copy_folder(sftp: paramiko.SFTPClient, source: Path, target: str) -> None:
    make_folders(sftp, target)
    with _errors_as_failure(f"open {source}"):
        entries = sorted(source.iterdir())
    for entry in entries:
        if entry.is_dir() and not entry.is_symlink():
            _copy_folder(sftp, entry, _join(target, entry.name))
        else:
            copy_file(sftp, entry, _join(target, entry.name))


def _send(sftp: paramiko.SFTPClient, source: IO[bytes], label: str, target: str) -> None:
    with _errors_as_failure(f"failed to create remote file {target}"):
        remote = sftp.open(target, "wb")
    with _errors_as_failure(f"failed to copy {label} to remote path {target}"), remote:
        # Pipelined writes do not wait for replies. The last write waits, and raises the error of any earlier one.
        remote.set_pipelined(True)
        chunk = source.read(_CHUNK)
        while following := source.read(_CHUNK):
            remote.write(chunk)
            chunk = following
        remote.set_pipelined(False)
        remote.write(chunk)


def _mode(sftp: paramiko.SFTPClient, path: str) -> int:
    """Return type and mode of a remote path; 0 if it does not exist."""
    with _errors_as_failure(f"failed to stat remote path {path}"):
        try:
            return sftp.stat(path).st_mode or 0
        except FileNotFoundError:
            return 0


@contextmanager
def _errors_as_failure(label: str) -> Iterator[None]:
    try:
        yield
    except (paramiko.SSHException, EOFError, OSError) as error:
        raise OperationFailed(f"{label}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) or "the connection was lost"


def _join(folder: str, name: str) -> str:
    return posixpath.normpath(posixpath.join(folder, name))
