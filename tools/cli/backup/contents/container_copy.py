"""Copies of a container of Azure Blob Storage, or of its emulator, in a folder."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

from mlplatform.blob_token import account_name

from tools.cli.backup.errors import BackupError


class _Blob(TypedDict):
    """A blob of a backup: its file in the folder, its name and its metadata, which mark a folder, for example."""

    file: str
    name: str
    metadata: dict[str, str]


def container_folder(folder: Path, team: str) -> Path:
    """Return the folder of a backup with the blobs of a team's container, or of the shared one for ""."""
    return folder / "team-containers" / team if team else folder / "container"


def download_container(login: Mapping[str, str], folder: Path) -> int:
    """Write the content of each blob to a numbered file in a folder, and return the number of files.

    The name of a blob is no path: it may be absolute, or that of a folder of other blobs. The file of `_index` beside
    the folder has the names.

    Raises:
        BackupError: the account does not respond, or refuses the login.
    """
    from azure.core.exceptions import AzureError, ResourceNotFoundError

    blobs: list[_Blob] = []
    folder.mkdir(parents=True)
    name = ""
    try:
        with _container(login) as container:
            for blob in container.list_blobs(include=["metadata"]):
                name = blob.name
                file = folder / f"{len(blobs):08}"
                if _download(container, name, file):
                    blobs.append({"file": file.name, "name": name, "metadata": dict(blob.metadata or {})})
                name = ""
    except ResourceNotFoundError:
        pass  # the first upload creates the container
    except AzureError as error:
        raise _failure("read", login, name, error) from None
    _index(folder).write_text(json.dumps(blobs))
    return len(blobs)


def container_digests(login: Mapping[str, str]) -> dict[str, str]:
    """Return the SHA-256 of each blob of a container by name.

    Raises:
        BackupError: the account does not respond, or refuses the login.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "container"
        download_container(login, folder)
        return {blob["name"]: _digest(folder / blob["file"]) for blob in _blobs(folder)}


def require_containers(folder: Path, logins: Mapping[str, Mapping[str, str]]) -> None:
    """Require an account that responds for each container whose blobs a backup has.

    Args:
        folder: the folder with the backup.
        logins: the logins to the containers of the stack by team; "" is the shared container.

    Raises:
        BackupError: the stack has no such container, or the account does not respond or refuses the login.
    """
    from azure.core.exceptions import AzureError

    shared, of_teams = container_folder(folder, ""), container_folder(folder, "any").parent
    for team in ["", *sorted(each.name for each in of_teams.glob("*/"))]:
        if not (blobs := _blobs(container_folder(folder, team))):
            continue
        if team not in logins:
            setting = f"the team {team} in workloads:teams and platform:blobs" if team else "platform:blobs"
            owner = f"team-containers/{team}" if team else shared.name
            raise BackupError(
                f"the backup has {len(blobs)} blobs in its folder {owner}, and the stack has no container for them. "
                f"Set {setting}, and try again"
            )
        try:
            with _container(logins[team]) as container:
                container.exists()
        except AzureError as error:
            fault = _failure("read", logins[team], "", error)
            raise BackupError(f"{fault}. If the services of the stack are down, run `make up` first") from None


def upload_container(login: Mapping[str, str], folder: Path) -> int:
    """Upload the blobs of a backup that the container lacks, and return the number of all blobs of the backup.

    A blob that exists stays as it is.

    Raises:
        BackupError: the account does not respond, or refuses the login.
    """
    from azure.core.exceptions import AzureError, ResourceExistsError

    blobs = _blobs(folder)
    name = ""
    try:
        with _container(login) as container:
            if blobs and not container.exists():
                container.create_container()
            for blob in blobs:
                name = blob["name"]
                with (folder / blob["file"]).open("rb") as source:
                    try:
                        container.upload_blob(name, source, metadata=blob["metadata"])
                    except ResourceExistsError:
                        continue
    except AzureError as error:
        raise _failure("written", login, name, error) from None
    return len(blobs)


def _index(folder: Path) -> Path:
    """Return the file with the names of the blobs in a folder."""
    return folder.with_name(f"{folder.name}.json")


def _blobs(folder: Path) -> list[_Blob]:
    """Return the blobs in a folder of a backup; those of earlier versions have no index, and their names as paths."""
    if _index(folder).exists():
        found: list[_Blob] = json.loads(_index(folder).read_text())
        return found
    names = [file.relative_to(folder).as_posix() for file in sorted(folder.rglob("*")) if file.is_file()]
    return [{"file": name, "name": name, "metadata": {}} for name in names]


def _download(container: Any, name: str, file: Path) -> bool:
    """Write a blob to a file, and return True; return False if it was deleted meanwhile."""
    from azure.core.exceptions import ResourceNotFoundError

    try:
        with file.open("wb") as target:
            container.download_blob(name).readinto(target)
    except ResourceNotFoundError:
        file.unlink()
        return False
    return True


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _container(login: Mapping[str, str]) -> Any:
    from azure.storage.blob import ContainerClient

    url = login["account_url"]
    credential = {"account_name": account_name(url), "account_key": login["account_key"]}
    return ContainerClient(url, login["container"], credential=credential, retry_total=2)


def _failure(verb: str, login: Mapping[str, str], name: str, error: Exception) -> BackupError:
    """Return the error for the blob `name`, "" for the container itself."""
    reason = str(error).splitlines()[0]
    place = f"the container {login['account_url']}/{login['container']}"
    return BackupError(f"{f'{name!r} in ' if name else ''}{place} cannot be {verb}: {reason}")
