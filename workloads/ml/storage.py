"""Reads and writes files of data where they are kept: Azure Blob Storage, or any address that fsspec knows."""

from __future__ import annotations

import logging
import os
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from workloads.ml.errors import StepError

KEY_VARIABLE = "AZURE_STORAGE_KEY"
"""The account key comes from the environment only: parameters stand in packages, command lines and logs."""
RETRIES: dict[str, Any] = {"retry_total": 2, "initial_backoff": 1, "increment_base": 1}
"""Of Azure's client, in seconds: its own would wait a minute for a server that is not there."""


def read(account_url: str, container: str, blob: str, data_url: str) -> tuple[bytes, str]:
    """The content of a blob, or of `data_url` where that is not empty, and its address without secrets.

    Raises:
        StepError: it cannot be read.
    """
    if data_url:
        return _read_url(data_url), without_secrets(data_url)
    given = {"account_url": account_url, "container": container, "blob": blob}
    if missing := [name for name, value in given.items() if not value]:
        raise StepError(f"{', '.join(missing)}: empty; give all of {', '.join(given)}, or a data_url instead")
    return _read_blob(account_url, container, blob), f"{without_secrets(account_url)}/{container}/{blob}"


def write(url: str, content: bytes) -> None:
    """Write a file, and the folders above it where the file system has folders.

    Raises:
        StepError: it cannot be written.
    """
    import fsspec

    try:
        with fsspec.open(url, "wb") as file:
            file.write(content)
    except Exception as error:  # each file system has its own errors
        raise StepError(f"destination: {_reason(url, 'written', error)}") from error


def without_secrets(url: str) -> str:
    """The address without user, password and query, where access tokens stand."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def account_of(account_url: str) -> str:
    """The storage account's name: the address's path where it has one, as with emulators, else its host's first part.

    Azure's client finds it by itself only for its own hosts and for an emulator at 127.0.0.1.
    """
    parts = urlsplit(account_url)
    return parts.path.strip("/") or (parts.hostname or "").partition(".")[0]


def _read_url(url: str) -> bytes:
    import fsspec

    try:
        with fsspec.open(url, "rb") as file:
            return bytes(file.read())
    except Exception as error:  # each file system has its own errors
        raise StepError(f"data_url: {_reason(url, 'read', error)}") from error


def _reason(url: str, done: str, error: Exception) -> str:
    shown = without_secrets(url)
    detail = f": {error}" if shown == url else ""  # a message may repeat the address with its secrets
    return f"{shown} cannot be {done}: {type(error).__name__}{detail}"


def _read_blob(account_url: str, container: str, blob: str) -> bytes:
    from azure.core.exceptions import AzureError, ResourceNotFoundError, ServiceRequestError
    from azure.storage.blob import BlobClient

    logging.getLogger("azure").setLevel(logging.WARNING)  # each request and answer would stand in the step's log
    account = without_secrets(account_url)
    key = os.environ.get(KEY_VARIABLE)
    if not key:
        raise StepError(f"{KEY_VARIABLE} is not set; it must hold the key of the storage account {account}")
    try:
        login = {"account_name": account_of(account_url), "account_key": key}
        client = BlobClient(account_url, container, blob, credential=login, connection_timeout=5, **RETRIES)
        return client.download_blob().readall()
    except ResourceNotFoundError:
        raise StepError(f"the storage account {account} has no blob {blob!r} in a container {container!r}") from None
    except ServiceRequestError as error:
        raise StepError(f"account_url: {account} cannot be reached: {error.message}") from None
    except (AzureError, ValueError) as error:
        status, code = getattr(error, "status_code", None), getattr(error, "error_code", None)
        if status in (401, 403):
            reason = f"refuses the key in {KEY_VARIABLE}"
        elif status:
            reason = f"answers {status}"
        else:  # the client cannot even sign a request
            reason = f"cannot be used: either account_url is not the address of one, or {KEY_VARIABLE} is not a key"
        raise StepError(f"the storage account {account} {reason}" + (f" ({code.value})" if code else "")) from None
