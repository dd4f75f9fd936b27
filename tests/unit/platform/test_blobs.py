"""Blobs of a stack, and the Azurite emulator of Azure Blob Storage."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any, ClassVar

import pulumi
import pytest
from mlplatform import blob_store
from pulumi.output import UNKNOWN

from settings.paths import VERSIONS
from tests.stand_ins import Answering, answering


class Account(Answering):
    """Storage account that answers each HEAD with `status`."""

    status: ClassVar[int] = 200

    def do_HEAD(self) -> None:
        self.answer(type(self).status, {})


def blob_changes(url: str, new_url: Any = None) -> bool | None:
    """Return the diff of a blob, unchanged or in an account with a new URL."""
    key = base64.b64encode(b"key").decode()
    props = {"account_url": url, "account_key": key, "container": "datasets", "blob": "iris.csv", "sha256": "abc"}
    news = props | {"account_url": new_url or url}
    return blob_store._BlobProvider().diff("datasets/iris.csv", props, news).changes


@pytest.mark.parametrize(("status", "changes"), [(200, False), (404, True), (403, False), (500, False)])
def test_diff_of_a_blob_uploads_it_again_to_an_account_that_lacks_it(status: int, changes: bool) -> None:
    Account.status = status
    with answering(Account) as url:
        assert blob_changes(f"{url}/datasets") is changes


def test_diff_of_a_blob_in_an_unavailable_account_changes_nothing() -> None:
    assert blob_changes("http://127.0.0.1:1/datasets") is False


def test_diff_of_a_blob_in_an_account_that_the_preview_does_not_know_is_a_change() -> None:
    assert blob_changes("http://127.0.0.1:1/datasets", UNKNOWN) is True


def test_azurite_uses_the_version_of_versions_toml_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLPLATFORM_CACHE", str(tmp_path))
    pinned = VERSIONS["azurite"]["version"]
    for version in ("9.0.0", pinned):
        with pytest.raises(pulumi.RunError, match="the Azurite emulator is not installed"):
            blob_store._azurite()
        program = tmp_path / "tools" / f"azurite-{version}" / "node_modules/azurite/dist/src/blob/main.js"
        program.parent.mkdir(parents=True)
        program.touch()
    assert blob_store._azurite()[1] == str(program)
