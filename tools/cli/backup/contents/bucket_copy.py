"""Objects of a bucket of an S3 store, copied to and from a folder of a backup."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.cli.backup.errors import BackupError

OBJECTS = "objects"
"""Entry of a manifest: the numbers of objects by the folder of the backup that has them."""


@dataclass(frozen=True)
class Bucket:
    """A bucket, or a folder of one.

    Args:
        files: the file system of the store.
        path: the name of the bucket, and that of the folder behind it.
        setting: the setting that names it, for errors.
    """

    files: Any
    path: str
    setting: str

    def create(self) -> None:
        """Create the bucket if the store has none of this name.

        Raises:
            BackupError: the store does not respond, or refuses the login.
        """
        with self._errors("written"):
            if not self._exists():
                self.files.mkdir(self.path)

    def download(self, folder: Path) -> int:
        """Write the objects into a folder, and return their number; 0 if the store certainly has no such bucket.

        Raises:
            BackupError: the store does not respond, or refuses the login.
        """
        with self._errors("read"):
            if self._exists() and self.files.find(self.path):
                self.files.get(f"{self.path}/", f"{folder}/", recursive=True)
        return _file_count(folder)

    def upload(self, folder: Path) -> None:
        """Upload the files of a folder; an object that exists is overwritten.

        Raises:
            BackupError: the store does not respond, refuses the login or has no such bucket.
        """
        with self._errors("written"):
            self.files.put(f"{folder}/", f"{self.path}/", recursive=True)

    def _exists(self) -> bool:
        """Return False only if the store answers that it has no such bucket. `exists` of s3fs hides each fault."""
        try:
            self.files.call_s3("list_objects_v2", Bucket=self.path.partition("/")[0], MaxKeys=1)
        except FileNotFoundError as error:
            # A proxy, or another server at this address, also answers 404.
            answer = getattr(error.__cause__, "response", {})
            if answer.get("Error", {}).get("Code") != "NoSuchBucket":
                raise
            return False
        return True

    @contextmanager
    def _errors(self, verb: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # the libraries below s3fs have no common base class of errors
            reason = str(error) or type(error).__name__
            raise BackupError(f"{self.setting}: the bucket {self.path} cannot be {verb}: {reason}") from error


def s3_files(access_key: str, secret_key: str, url: str | None, region: str) -> Any:
    """Return the file system of an S3 store; `url` is None for that of AWS."""
    import fsspec

    return fsspec.filesystem(
        "s3",
        key=access_key,
        secret=secret_key,
        endpoint_url=url,
        client_kwargs={"region_name": region},
        skip_instance_cache=True,
    )


def require_objects(folder: Path, manifest: Mapping[str, Any], part: str = "") -> None:
    """Require the objects that a backup has by its manifest.

    Args:
        folder: the folder with the backup.
        manifest: its manifest; those of earlier versions count no objects.
        part: the folder of the backup that was read, "" for all.

    Raises:
        BackupError: objects are missing.
    """
    for name, count in manifest.get(OBJECTS, {}).items():
        if name.startswith(part) and (found := _file_count(folder / name)) < count:
            raise BackupError(
                f"the backup has {found} of the {count} objects in its folder {name}; choose an earlier one with "
                "ARGS='--at TIME', and see the times with ARGS=--list"
            )


def _file_count(folder: Path) -> int:
    return sum(each.is_file() for each in folder.rglob("*"))
