"""Copies of containers, with an emulator of Azure Blob Storage."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.store_servers import BLOB_KEY, blob_server
from tools.cli.backup.contents import container_copy
from tools.cli.backup.contents.container_copy import container_digests, download_container, upload_container

NAMES = ["a//b", "data", "data/", "data/iris.csv", "container.json", "x" * 300, "100%2F?#\u00e9 "]
FOLDER = {"hdi_isfolder": "true"}
"""Metadata of the blob that stands for a folder."""


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with blob_server(tmp_path_factory.mktemp("azurite")) as url:
        yield url


def login(account: str, container: str) -> dict[str, str]:
    return {"account_url": account, "account_key": BLOB_KEY, "container": container}


def fill(login: Mapping[str, str], names: list[str]) -> None:
    with container_copy._container(login) as container:
        container.create_container()
        for name in names:
            container.upload_blob(name, f"content of {name}", metadata={"by": "test"})


def metadata(login: Mapping[str, str]) -> dict[str, Any]:
    with container_copy._container(login) as container:
        return {blob.name: blob.metadata for blob in container.list_blobs(include=["metadata"])}


def test_blobs_are_restored_whatever_their_names_are_and_stay_in_the_folder(account: str, tmp_path: Path) -> None:
    original, restored = login(account, "names"), login(account, "names-restored")
    names = [*NAMES, f"{tmp_path}/outside"]
    fill(original, names)
    with container_copy._container(original) as container:
        container.upload_blob("marker", b"", metadata=FOLDER)
        container.upload_blob("marker/rows", b"1")
    assert download_container(original, tmp_path / "backup" / "container") == len(names) + 2
    assert [each.name for each in tmp_path.iterdir()] == ["backup"]
    assert upload_container(restored, tmp_path / "backup" / "container") == len(names) + 2
    assert set(container_digests(original)) == {*names, "marker", "marker/rows"}
    assert container_digests(restored) == container_digests(original)
    assert metadata(restored) == metadata(original)


def test_backup_of_an_earlier_version_has_its_names_as_paths(account: str, tmp_path: Path) -> None:
    folder = tmp_path / "container"
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "iris.csv").write_text("1")
    (folder / "container.json").write_text("2")
    restored = login(account, "earlier")
    assert upload_container(restored, folder) == 2
    assert set(container_digests(restored)) == {"data/iris.csv", "container.json"}


def test_blob_that_is_deleted_during_the_copy_does_not_end_it(
    account: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from azure.storage.blob import ContainerClient

    original = login(account, "changing")
    fill(original, ["a", "b", "c"])
    read = ContainerClient.download_blob

    def deleting(self: ContainerClient, blob: str, **options: Any) -> Any:
        if blob == "b":
            self.delete_blob("b")
        return read(self, blob, **options)

    monkeypatch.setattr(ContainerClient, "download_blob", deleting)
    assert download_container(original, tmp_path / "container") == 2
    assert upload_container(login(account, "changed"), tmp_path / "container") == 2
    assert set(container_digests(login(account, "changed"))) == {"a", "c"}


def test_container_that_nothing_was_uploaded_to_is_empty(account: str, tmp_path: Path) -> None:
    assert download_container(login(account, "missing"), tmp_path / "container") == 0
    assert upload_container(login(account, "missing"), tmp_path / "container") == 0
    assert container_digests(login(account, "missing")) == {}
