"""Copies of a container of Azure Blob Storage, or of its emulator, in a folder."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlplatform.blob_token import account_name

from tools.cli.backup.errors import BackupError


def container_folder(folder: Path, team: str) -> Path:
    """Return the folder of a backup with the blobs of a team's container, or of the shared one for ""."""
    return folder / "team-containers" / team if team else folder / "container"


def download_container(login: Mapping[str, str], folder: Path) -> int:
    """Write each blob of a container as a file below a folder, and return their number.

    Raises:
        BackupError: the account does not respond, or refuses the login.
    """
    from azure.core.exceptions import AzureError, ResourceNotFoundError

    count = 0
    try:
        with _container(login) as container:
            for name in container.list_blob_names():
                file = folder / name
                file.parent.mkdir(parents=True, exist_ok=True)
                with file.open("wb") as target:
                    container.download_blob(name).readinto(target)
                count += 1
    except ResourceNotFoundError:
        return count  # the first upload creates the container
    except AzureError as error:
        raise _failure("read", login, error) from None
    return count


def container_digests(login: Mapping[str, str]) -> dict[str, str]:
    """Return the SHA-256 of each blob of a container by name.

    Raises:
        BackupError: the account does not respond, or refuses the login.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        download_container(login, folder)
        files = [file for file in folder.rglob("*") if file.is_file()]
        return {file.relative_to(folder).as_posix(): _digest(file) for file in files}


def upload_container(login: Mapping[str, str], folder: Path) -> int:
    """Upload the files below a folder that the container lacks, and return the number of all files.

    A blob that exists stays as it is.
    """
    from azure.core.exceptions import AzureError, ResourceExistsError

    files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
    try:
        with _container(login) as container:
            if files and not container.exists():
                container.create_container()
            for file in files:
                with file.open("rb") as source:
                    try:
                        container.upload_blob(file.relative_to(folder).as_posix(), source)
                    except ResourceExistsError:
                        continue
    except AzureError as error:
        raise _failure("written", login, error) from None
    return len(files)


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _container(login: Mapping[str, str]) -> Any:
    from azure.storage.blob import ContainerClient

    url = login["account_url"]
    credential = {"account_name": account_name(url), "account_key": login["account_key"]}
    return ContainerClient(url, login["container"], credential=credential, retry_total=2)


def _failure(verb: str, login: Mapping[str, str], error: Exception) -> BackupError:
    reason = str(error).splitlines()[0]
    return BackupError(f"the container {login['account_url']}/{login['container']} cannot be {verb}: {reason}")
