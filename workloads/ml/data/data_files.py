"""Files of data as streams: a file or all files of a folder, in Azure Blob Storage or at any address of fsspec."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from io import RawIOBase
from pathlib import PurePosixPath
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import unquote

from workloads.ml.data.storage import (
    blob_errors,
    container_client,
    failure,
    file_system,
    require_address,
    without_secrets,
)
from workloads.ml.errors import StepError

if TYPE_CHECKING:
    from azure.storage.blob import BlobClient, BlobProperties

CONTENT_KEYS = ("ETag", "etag", "Content-MD5", "Digest")
"""Properties that file systems report, and that change with the content of a file alone."""
TIME_KEYS = ("mtime", "created", "LastModified", "Last-Modified")
"""Properties that change when a file is written."""

EMPTY_PARTITION = "__HIVE_DEFAULT_PARTITION__"
"""Cell of a folder's name that stands for an empty cell."""


@dataclass(frozen=True)
class DataFile:
    """A file of the data.

    Args:
        address: Address without secrets.
        version: A text that changes with the content; empty if the storage reports none.
        opened: Opens the file for reading at any position.
        folder: Address of the folder in which it was found; empty if the address names the file itself.
    """

    address: str
    version: str
    opened: Callable[[], Any]
    folder: str = ""

    @property
    def partition(self) -> dict[str, str | None]:
        """Return the cells that the names of its folders give to all rows, by column, as in `region=eu/part.parquet`.

        Spark, Hive and pandas write partitioned tables so, without these columns in the files.
        """
        names = self.address.removeprefix(self.folder).split("/")[:-1] if self.folder else []
        cells = (name.split("=", 1) for name in names if "=" in name)
        return {unquote(column): None if cell == EMPTY_PARTITION else unquote(cell) for column, cell in cells}

    def open(self) -> IO[bytes]:
        """Return the content as a stream.

        Raises:
            StepError: The file cannot be read.
        """
        try:
            stream: IO[bytes] = self.opened()
        except Exception as error:  # each file system has its own errors
            raise StepError(f"data_url: {failure(self.address, 'read', error)}") from error
        return stream


def find_files(account_url: str, container: str, blob: str, data_url: str) -> list[DataFile]:
    """Return the blob, or the file of `data_url` if that is set; of a folder, its files in the order of their names.

    A blob whose name ends with / is a folder. Files whose path has a name that begins with _ or . are left out.

    Raises:
        StepError: There is no file, or neither address is complete.
    """
    if data_url:
        return _find_by_url(data_url)
    require_address(account_url, container, blob)
    return _find_blobs(account_url, container, blob)


def _find_by_url(url: str) -> list[DataFile]:
    try:
        files, path = file_system(url)
        if files.protocol == "data":
            path = url  # this file system needs the beginning that fsspec removes
        found = {path: files.info(path)}
        if folder := found[path]["type"] == "directory":
            found = files.find(path, detail=True)
            visible = (name for name in sorted(found) if _is_visible(name.removeprefix(path)))
            found = {name: found[name] for name in visible if not _is_marker(name, path, found[name])}
    except Exception as error:  # each file system has its own errors
        raise StepError(f"data_url: {failure(url, 'read', error)}") from error
    if not found:
        raise StepError(f"data_url: the folder {without_secrets(url)} has no files")
    base = without_secrets(url)
    # A web server may have no ranges, so its files are streams. For other files, the readers buffer.
    options: dict[str, Any] = {"block_size": 0} if "http" in files.protocol else {"cache_type": "none"}
    return [
        DataFile(
            f"{base.rstrip('/')}/{name.removeprefix(path).lstrip('/')}" if folder else base,
            _version(info),
            partial(files.open, name, "rb", **options),
            f"{base.rstrip('/')}/" if folder else "",
        )
        for name, info in found.items()
    ]


def _version(info: dict[str, Any]) -> str:
    for keys in (CONTENT_KEYS, TIME_KEYS):
        if known := [str(info[key]) for key in keys if info.get(key)]:
            return " ".join([str(info.get("size")), *known])
    return ""


def _is_marker(name: str, folder: str, info: Mapping[str, Any]) -> bool:
    """Return True for the empty object that some tools store in place of a folder."""
    return not info.get("size") and (name.endswith("/") or name.rstrip("/") == folder.rstrip("/"))


def _is_visible(path: str) -> bool:
    return not any(name.startswith(("_", ".")) for name in PurePosixPath(path).parts)


def _find_blobs(account_url: str, container: str, blob: str) -> list[DataFile]:
    base = f"{without_secrets(account_url)}/{container}"
    with blob_errors(account_url, container, blob):
        client = container_client(account_url, container)
        if blob.endswith("/"):
            listed = client.list_blobs(name_starts_with=blob)
            found = [each for each in listed if each.size and _is_visible(each.name.removeprefix(blob))]
        else:
            found = [client.get_blob_client(blob).get_blob_properties()]
    folder = f"{base}/{blob}" if blob.endswith("/") else ""
    if not found:
        raise StepError(f"blob: the folder {blob} of {base} has no files")

    def opened(properties: BlobProperties) -> BlobStream:
        return BlobStream(client.get_blob_client(properties.name), account_url, properties)

    return [
        DataFile(f"{base}/{each.name}", str(each.etag), partial(opened, each), folder)
        for each in sorted(found, key=lambda each: str(each.name))
    ]


class BlobStream(RawIOBase):
    """Content of one version of a blob, read in ranges.

    Args:
        client: The blob.
        account_url: Address of its storage account.
        properties: Its version and length; another version is refused.
    """

    def __init__(self, client: BlobClient, account_url: str, properties: BlobProperties) -> None:
        self._client = client
        self._account_url = account_url
        self._size = properties.size
        from azure.core import MatchConditions

        self._version: dict[str, Any] = {"etag": properties.etag, "match_condition": MatchConditions.IfNotModified}
        self._position = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move to a position and return it."""
        self._position = offset + (0, self._position, self._size)[whence]
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Download the next bytes into the buffer and return their number, 0 at the end."""
        length = min(len(buffer), self._size - self._position)
        if length <= 0:
            return 0
        with blob_errors(self._account_url, self._client.container_name, self._client.blob_name):
            content = self._client.download_blob(self._position, length, **self._version).readall()
        buffer[: len(content)] = content
        self._position += len(content)
        return len(content)
