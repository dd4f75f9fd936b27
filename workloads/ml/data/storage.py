"""Reads and writes data files in Azure Blob Storage, or at any address that fsspec supports."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import copyfile, copyfileobj, copymode
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

from workloads.ml.errors import StepError

if TYPE_CHECKING:
    from azure.storage.blob import ContainerClient
    from fsspec import AbstractFileSystem
    from fsspec.core import OpenFile

TOKEN_VARIABLE = "AZURE_STORAGE_SAS_TOKEN"
"""Holds the access token of the container that steps read by default.

A parameter would appear in packages, command lines and logs.
"""
AUTHORITY_VARIABLE = "MLPLATFORM_S3_AUTHORITY"
"""Holds the certificate authority of the S3 store in PEM format, if it is a private one."""
RETRIES: dict[str, Any] = {"retry_total": 2, "initial_backoff": 1, "increment_base": 1}
"""Options of Azure's client, in seconds; with its defaults, an unreachable server takes a minute to fail."""


def read_data(account_url: str, container: str, blob: str, data_url: str) -> tuple[bytes, str]:
    """Return the content of a blob, or of `data_url` if that is set, and the address without secrets.

    Raises:
        StepError: The file cannot be read, or neither address is complete.
    """
    if data_url:
        return _read_url(data_url), without_secrets(data_url)
    require_address(account_url, container, blob)
    address = f"{without_secrets(account_url)}/{container}/{blob}"
    with blob_errors(account_url, container, blob):
        return container_client(account_url, container).download_blob(blob).readall(), address


def require_address(account_url: str, container: str, blob: str) -> None:
    """Require all parts of a blob's address.

    Raises:
        StepError: A part is empty.
    """
    given = {"account_url": account_url, "container": container, "blob": blob}
    if missing := [name for name, value in given.items() if not value]:
        raise StepError(f"{', '.join(missing)}: empty; give all of {', '.join(given)}, or a data_url instead")


def write_data(url: str, source: Path) -> None:
    """Copy a file of this computer to an address and create, in file systems with folders, its parent folders.

    The file of before stays until the copy is complete.

    Raises:
        StepError: The file cannot be written.
    """
    from fsspec.implementations.local import LocalFileSystem

    try:
        files, path = file_system(url)
        file = Path(path).resolve()
        if isinstance(files, LocalFileSystem) and (file.is_file() or not file.exists()):
            _replace(file, source)
        else:
            with source.open("rb") as content, open_address(url, "wb") as copy:
                copyfileobj(content, copy)
    except Exception as error:  # each file system has its own errors
        raise StepError(f"destination: {failure(url, 'written', error)}") from error


def _replace(file: Path, source: Path) -> None:
    """Copy the source beside the file, and then replace the file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}.{uuid4().hex}.partial")
    try:
        copyfile(source, partial)
        if file.exists():
            copymode(file, partial)
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)


def file_system(url: str) -> tuple[AbstractFileSystem, str]:
    """Return the file system of an address, and the path in it.

    Clients of S3 read the keys from AWS_ACCESS_KEY_ID and the other variables of Amazon's SDKs.
    """
    import fsspec

    _write_authority()
    files, path = fsspec.core.url_to_fs(url)
    return files, path


def open_address(url: str, mode: str) -> OpenFile:
    """Return the file at an address, for a `with` statement. Writing creates missing folders."""
    import fsspec

    _write_authority()
    return cast("OpenFile", fsspec.open(url, mode))


def _write_authority() -> None:
    """Write the authority of the S3 store to a file, because clients of S3 read authorities from files only."""
    if authority := os.environ.pop(AUTHORITY_VARIABLE, ""):
        with NamedTemporaryFile("w", suffix=".crt", delete=False) as file:
            file.write(authority)
        os.environ["AWS_CA_BUNDLE"] = file.name


def without_secrets(url: str) -> str:
    """Return the address without user, password and query, which may hold access tokens, and without data in it."""
    parts = urlsplit(url)
    if parts.scheme == "data":
        kind, comma, _ = parts.path.partition(",")
        return f"data:{kind},..." if comma else "data:..."
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _read_url(url: str) -> bytes:
    try:
        with open_address(url, "rb") as file:
            return bytes(file.read())
    except Exception as error:  # each file system has its own errors
        raise StepError(f"data_url: {failure(url, 'read', error)}") from error


def failure(url: str, action: str, error: Exception) -> str:
    """Return the text of an error that hides the secrets of the address."""
    shown = without_secrets(url)
    detail = f": {error}" if shown == url else ""  # the message may contain the address with its secrets
    return f"{shown} cannot be {action}: {type(error).__name__}{detail}"


def container_variable(container: str) -> str:
    """Return the environment variable with the access token of a container that steps do not read by default."""
    return f"{TOKEN_VARIABLE}_{container.replace('-', '_').upper()}"


def _token_variable(container: str) -> str:
    """Return the environment variable that holds the access token of a container in this process."""
    variable = container_variable(container)
    return variable if variable in os.environ else TOKEN_VARIABLE


def container_client(account_url: str, container: str) -> ContainerClient:
    """Return a client of a container with its access token.

    Raises:
        StepError: The token is not set.
    """
    from azure.core.credentials import AzureSasCredential
    from azure.storage.blob import ContainerClient

    logging.getLogger("azure").setLevel(logging.WARNING)  # otherwise it logs each request and response
    variable = _token_variable(container)
    token = os.environ.get(variable)
    if not token:
        account = without_secrets(account_url)
        raise StepError(f"{variable} is not set; it must hold an access token of {account}/{container}")
    login = AzureSasCredential(token)
    return ContainerClient(account_url, container, credential=login, connection_timeout=5, **RETRIES)


@contextmanager
def blob_errors(account_url: str, container: str, blob: str) -> Iterator[None]:
    """Replace errors of Azure's client.

    Raises:
        StepError: The blob cannot be read.
    """
    from azure.core.exceptions import AzureError, ResourceNotFoundError, ServiceRequestError

    account = without_secrets(account_url)
    try:
        yield
    except ResourceNotFoundError:
        raise StepError(f"the storage account {account} has no blob {blob!r} in a container {container!r}") from None
    except ServiceRequestError as error:
        raise StepError(f"account_url: {account} cannot be reached: {error.message}") from None
    except (AzureError, ValueError) as error:
        status, code = getattr(error, "status_code", None), getattr(error, "error_code", None)
        if status in (401, 403):
            reason = f"refuses the token in {_token_variable(container)} for the container {container!r}"
        elif status:
            reason = f"answers {status}"
        else:
            reason = "cannot be used: account_url is not the address of one"
        raise StepError(f"the storage account {account} {reason}" + (f" ({code.value})" if code else "")) from None
