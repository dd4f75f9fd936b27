"""Copies of buckets, with an S3 store that answers with errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fsspec import get_filesystem_class

from infra.local.free_ports import free_port
from settings.platform import TrackingSettings
from tests.stand_ins import Answering, answering
from tests.store_servers import S3_KEY, S3_USER, s3_client, s3_server
from tools.cli.backup.contents.bucket_copy import OBJECTS, Bucket, require_objects, s3_files
from tools.cli.backup.contents.external_stores import copy_external_data
from tools.cli.backup.errors import BackupError

ERROR = "<Error><Code>{}</Code><Message>no answer</Message></Error>"


class Refusing(Answering):
    """A store that answers each request with `status` and `code`."""

    status, code = 503, "ServiceUnavailable"

    def do_GET(self) -> None:
        self.refuse(ERROR.format(self.code).encode())

    def do_PUT(self) -> None:
        self.do_GET()

    def do_HEAD(self) -> None:
        self.refuse(b"")

    def refuse(self, body: bytes) -> None:
        self.send_response(self.status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with s3_server(tmp_path_factory.mktemp("s3"), "full") as url:
        for name in ("a", "b/c"):
            s3_client(url).put_object(Bucket="full", Key=f"files/{name}", Body=b"content")
        yield url


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Bucket]:
    """Return a function that returns the bucket with a path at an address. Requests are not repeated."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setattr(get_filesystem_class("s3"), "retries", 1)
    files = partial(s3_files, S3_USER, S3_KEY, region="us-east-1")
    return lambda url, path: Bucket(files(url=url), path, "platform:tracking.artifacts")


def settings(url: str) -> TrackingSettings:
    store = {"url": "s3://mlflow", "endpoint_url": url, "access_key": S3_USER, "secret_key": S3_KEY}
    return TrackingSettings.model_validate({"artifacts": store})


@pytest.mark.parametrize(
    ("status", "code"), [(403, "AccessDenied"), (503, "ServiceUnavailable"), (404, "NotFound"), (502, "")]
)
def test_bucket_of_a_store_with_an_error_is_not_taken_for_an_empty_one(
    bucket: Callable[[str, str], Bucket], tmp_path: Path, status: int, code: str
) -> None:
    with answering(type("Store", (Refusing,), {"status": status, "code": code})) as url:
        with pytest.raises(BackupError, match=r"^platform:tracking.artifacts: the bucket mlflow cannot be read: "):
            copy_external_data(settings(url), tmp_path)
        with pytest.raises(BackupError, match="the bucket mlflow cannot be written: "):
            bucket(url, "mlflow").create()


@pytest.mark.usefixtures("bucket")
def test_bucket_of_an_unreachable_store_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    with pytest.raises(BackupError, match=r"the bucket mlflow cannot be read: .*[Cc]onnect"):
        copy_external_data(settings(f"http://127.0.0.1:{free_port()}"), tmp_path)


def test_missing_bucket_is_empty_and_gets_the_objects_of_a_backup(
    bucket: Callable[[str, str], Bucket], store: str, tmp_path: Path
) -> None:
    assert bucket(store, "full/files").download(tmp_path / "copy") == 2
    assert bucket(store, "full/other").download(tmp_path / "other") == 0
    missing = bucket(store, "missing")
    assert missing.download(tmp_path / "missing") == 0
    missing.create()
    missing.create()
    missing.upload(tmp_path / "copy")
    listed = s3_client(store).list_objects_v2(Bucket="missing")["Contents"]
    assert [each["Key"] for each in listed] == ["a", "b/c"]


@pytest.mark.parametrize(
    ("counts", "part", "missing"),
    [
        ({"kubeflow/objects": 2, "mlflow/artifacts": 1}, "", ""),
        ({"kubeflow/objects": 2, "mlflow/artifacts": 2}, "", "1 of the 2 objects in its folder mlflow/artifacts"),
        ({"kubeflow/objects": 2, "mlflow/artifacts": 2}, "kubeflow", ""),
        ({"kubeflow/elsewhere": 3}, "kubeflow", "0 of the 3 objects in its folder kubeflow/elsewhere"),
        ({}, "", ""),
    ],
)
def test_backup_without_objects_that_its_manifest_counts_is_refused(
    tmp_path: Path, counts: Mapping[str, int], part: str, missing: str
) -> None:
    for name in ("kubeflow/objects/a", "kubeflow/objects/b/c", "mlflow/artifacts/1/model.onnx"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("content")
    manifest: dict[str, Any] = {OBJECTS: counts} if counts else {}
    if not missing:
        require_objects(tmp_path, manifest, part)
        return
    with pytest.raises(BackupError, match=f"the backup has {missing}"):
        require_objects(tmp_path, manifest, part)
