"""Tests of the targets of backups with real programs: restic, an S3 server and an SSH server."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from settings.services.backup_settings import BackupSettings
from tests.command.sshd import Sshd
from tests.command.sshd import missing as missing_sshd
from tests.store_servers import S3_KEY, S3_USER, s3_client, s3_server
from tools.bootstrap import paths
from tools.cli.backup import restic_repository
from tools.cli.backup.errors import BackupError
from tools.cli.backup.restic_repository import DATA, BackupRepository, SavedStack, configured_repository

BUILT = paths.tool_directory("restic", paths.pinned_versions()["restic"]["version"]) / "restic"
pytestmark = pytest.mark.skipif(
    not shutil.which("restic") and not BUILT.exists(), reason="no restic here: install restic, or run `make backup`"
)


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with s3_server(tmp_path_factory.mktemp("s3"), "existing") as url:
        yield f"s3:{url}"


def s3_target(target: str, access_key: str = S3_USER, secret_key: str = S3_KEY) -> BackupRepository:
    settings = {"target": target, "password": "a-long-password", "access_key": access_key, "secret_key": secret_key}
    return configured_repository(BackupSettings.model_validate(settings))


def test_s3_target_with_a_missing_bucket_gets_it_with_the_first_backup(
    s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "of-the-user")  # the store would refuse it
    repository = s3_target(f"{s3}/missing/a")
    with pytest.raises(BackupError, match=r"platform:backup.target: the bucket of s3:.*/missing/a does not exist"):
        repository.latest(SavedStack("a"), DATA)
    assert repository.identifier() is None
    repository.create()
    objects = s3_client(s3.removeprefix("s3:")).list_objects_v2(Bucket="missing")["Contents"]
    assert "a/config" in {each["Key"] for each in objects}


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ((S3_USER, "wrong"), "platform:backup.secret_key does not belong to platform:backup.access_key at s3:"),
        (("stranger", S3_KEY), "platform:backup.access_key: the server of s3:.* does not know this key"),
    ],
)
def test_s3_target_with_a_wrong_key_names_its_setting(s3: str, keys: tuple[str, str], message: str) -> None:
    with pytest.raises(BackupError, match=message):
        s3_target(f"{s3}/existing", *keys).identifier()


def test_s3_target_that_is_unreachable_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restic_repository, "OPEN_RETRIES", 1)
    with pytest.raises(BackupError, match=r"^platform:backup.target: .*http://127.0.0.1:1/.*: connection refused$"):
        s3_target("s3:http://127.0.0.1:1/backups").identifier()


@pytest.mark.skipif(bool(missing_sshd()), reason=missing_sshd())
def test_sftp_target_with_an_unknown_host_key_or_login_is_refused_without_a_question(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Sshd(tmp_path)
    login = ("HostName 127.0.0.1", f"Port {server.port}", f"UserKnownHostsFile {tmp_path}/known", "IdentitiesOnly yes")
    (tmp_path / "ssh_config").write_text("\n".join([*login, f"IdentityFile {tmp_path}/user_key", ""]))
    program = tmp_path / "bin" / "ssh"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {tmp_path}/ssh_config "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    repository = configured_repository(BackupSettings(target="sftp:nas:backups", password="a-long-password"))
    server.start()
    try:
        with pytest.raises(BackupError, match="target: the host key of sftp:nas:backups is not the one in known_hosts"):
            repository.identifier()
        (tmp_path / "known").write_text(f"[127.0.0.1]:{server.port} {server.host_key}\n")
        repository.create()
        assert repository.identifier()
        assert (server.home / "backups" / "config").exists()
        server.authorized.write_text("")
        with pytest.raises(BackupError, match="target: the SSH server of sftp:nas:backups refuses the login"):
            repository.identifier()
    finally:
        server.stop()
