"""Tests of the environment variables of started programs."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from tools.bootstrap.process import inherited_environment, temporary_folder


def test_temporary_folder_is_private_and_deleted_after_the_block() -> None:
    with temporary_folder() as variables:
        folder = Path(variables["TMPDIR"])
        (folder / "kubeconfig1").write_text("secret")
        assert folder.stat().st_mode & 0o777 == 0o700
    assert not folder.exists()


@pytest.mark.parametrize("set_by_user", [True, False])
def test_programs_that_keep_running_get_the_folder_of_the_user(
    set_by_user: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TMPDIR", raising=False)
    if set_by_user:
        monkeypatch.setenv("TMPDIR", str(tmp_path))
        monkeypatch.setattr(tempfile, "tempdir", None)  # the module keeps its first answer
    users = tempfile.gettempdir()
    with temporary_folder() as variables:
        monkeypatch.setenv("TMPDIR", variables["TMPDIR"])
        assert inherited_environment()["TMPDIR"] == users


def test_programs_do_not_get_the_variables_of_pulumi(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "secret")
    monkeypatch.setenv("TMPDIR", "/a/folder/of/the/user")
    environment = inherited_environment()
    assert "PULUMI_CONFIG_PASSPHRASE" not in environment
    assert environment["TMPDIR"] == "/a/folder/of/the/user"


def test_program_with_keys_of_an_s3_store_gets_none_of_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_PROFILE", "AWS_CA_BUNDLE"):
        monkeypatch.setenv(name, "of the user")
    assert inherited_environment({"COLOR": "1"})["AWS_SESSION_TOKEN"] == "of the user"
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    environment = inherited_environment(keys)
    found = {name: value for name, value in environment.items() if name.startswith("AWS_")}
    assert found == {**keys, "AWS_CA_BUNDLE": "of the user"}
