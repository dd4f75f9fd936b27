"""Reads and writes data files in Azure Blob Storage, or at any address that fsspec supports."""

from __future__ import annotations

import logging
import os
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from workloads.ml.errors import StepError

TOKEN_VARIABLE = "AZURE_STORAGE_SAS_TOKEN"
"""Holds the container's access token. A parameter would appear in packages, command lines and logs."""
RETRIES: dict[str, Any] = {"retry_total": 2, "initial_backoff": 1, "increment_base": 1}
"""Options of Azure's client, in seconds; with its defaults, an unreachable server takes a minute to fail."""


def read_data(account_url: str, container: str, blob: str, data_url: str) -> tuple[bytes, str]:
    """Return the content of a blob, or of `data_url` if that is set, and the address without secrets.

    Raises:
        StepError: The file cannot be read, or neither address is complete.
    """
    if data_url:
        return _read_url(data_url), without_secrets(data_url)
    given = {"account_url": account_url, "container": container, "blob": blob}
    if missing := [name for name, value in given.items() if not value]:
        raise StepError(f"{', '.join(missing)}: empty; give all of {', '.join(given)}, or a data_url instead")
    return _read_blob(account_url, container, blob), f"{without_secrets(account_url)}/{container}/{blob}"


def write_data(url: str, content: bytes) -> None:
    """Write a file and, in file systems with folders, its parent folders.

    Raises:
        StepError: The file cannot be written.
    """
    import fsspec

    try:
        with fsspec.open(url, "wb") as file:
            file.write(content)
    except Exception as error:  # each file system has its own errors
        raise StepError(f"destination: {_failure(url, 'written', error)}") from error


def without_secrets(url: str) -> str:
    """Return the address without user, password and query, which may hold access tokens."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _read_url(url: str) -> bytes:
    import fsspec

    try:
        with fsspec.open(url, "rb") as file:
            return bytes(file.read())
    except Exception as error:  # each file system has its own errors
        raise StepError(f"data_url: {_failure(url, 'read', error)}") from error


def _failure(url: str, action: str, error: Exception) -> str:
    shown = without_secrets(url)
    detail = f": {error}" if shown == url else ""  # the message may contain the address with its secrets
    return f"{shown} cannot be {action}: {type(error).__name__}{detail}"


def _read_blob(account_url: str, container: str, blob: str) -> bytes:
    from azure.core.credentials import AzureSasCredential
    from azure.core.exceptions import AzureError, ResourceNotFoundError, ServiceRequestError
    from azure.storage.blob import BlobClient

    logging.getLogger("azure").setLevel(logging.WARNING)  # otherwise it logs each request and response
    account = without_secrets(account_url)
    token = os.environ.get(TOKEN_VARIABLE)
    if not token:
        raise StepError(f"{TOKEN_VARIABLE} is not set; it must hold an access token of {account}/{container}")
    try:
        login = AzureSasCredential(token)
        client = BlobClient(account_url, container, blob, credential=login, connection_timeout=5, **RETRIES)
        return client.download_blob().readall()
    except ResourceNotFoundError:
        raise StepError(f"the storage account {account} has no blob {blob!r} in a container {container!r}") from None
    except ServiceRequestError as error:
        raise StepError(f"account_url: {account} cannot be reached: {error.message}") from None
    except (AzureError, ValueError) as error:
        status, code = getattr(error, "status_code", None), getattr(error, "error_code", None)
        if status in (401, 403):
            reason = f"refuses the token in {TOKEN_VARIABLE} for the container {container!r}"
        elif status:
            reason = f"answers {status}"
        else:
            reason = "cannot be used: account_url is not the address of one"
        raise StepError(f"the storage account {account} {reason}" + (f" ({code.value})" if code else "")) from None
