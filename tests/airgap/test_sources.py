"""The source table: the committed one is complete, and faults of a table are named."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from airgap import conformance
from airgap.bundle.source_table import MODULES, TABLE, load_sources
from airgap.bundle.store import Store
from tests.airgap import proxy
from tools.bootstrap.console import SetupError

KUBEADM = next(iter((Store.default().root / "binaries").glob("kubernetes-*/kubeadm")), None)
VERSION = f'version = "{proxy.VERSION}"'
ANY_VERSION = re.compile(r"\bv?\d+\.\d+\.\d+\b")


def load_error(tmp_path: Path, old: str, new: str) -> str:
    """Return the error for a small table with one change."""
    assert proxy.TABLE.count(old) == 1
    table = tmp_path / "sources.toml"
    table.write_text(proxy.TABLE.replace(old, new))
    with pytest.raises(SetupError) as caught:
        load_sources(table, proxy.module(tmp_path / "modules"))
    return str(caught.value)


def test_committed_table_is_valid_with_unique_image_names() -> None:
    table = load_sources()
    names = [table.upstream_name(image) for image in table.image]
    assert len(names) == len(set(names))
    assert f"registry.k8s.io/kube-apiserver:{table.go['kubernetes'].version}" in names


def test_conformance_tests_are_those_of_the_version_of_kubernetes() -> None:
    table = load_sources(conformance.TABLE, conformance.MODULES)
    assert table.go[conformance.PROGRAMS].version == load_sources().go["kubernetes"].version


@pytest.mark.skipif(KUBEADM is None, reason="kubeadm is not built here; `make bundle` does")
def test_committed_table_has_the_images_of_kubeadm() -> None:
    table = load_sources()
    command = [str(KUBEADM), "config", "images", "list", "--kubernetes-version", table.go["kubernetes"].version]
    required = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert {table.upstream_name(image) for image in table.image} >= set(required)


def test_committed_table_has_each_version_once() -> None:
    elsewhere = [
        line
        for line in TABLE.read_text().splitlines()
        if ANY_VERSION.search(line.partition("#")[0])
        and not re.match(r'(version|release) = "[^"]+"|build_date|  "[a-z.]+/[^"]+:v?[0-9.]+",$', line)
    ]
    assert elsewhere == []


@pytest.mark.parametrize("entry", load_sources().go)
def test_go_module_lists_the_packages_of_its_entry_as_tools(entry: str) -> None:
    packages = {binary.package for binary in load_sources().go[entry].binaries.values()}
    go_mod = (MODULES / entry / "go.mod").read_text()
    block = re.search(r"^tool \((.*?)^\)", go_mod, re.MULTILINE | re.DOTALL)
    tools = set(block.group(1).split()) if block else set(re.findall(r"^tool (\S+)", go_mod, re.MULTILINE))
    assert tools == {package for package in packages if not package.startswith("mlplatform/")}


def test_go_modules_replace_no_module_outside_their_folder() -> None:
    replaced = [re.findall(r"=> (\S+)$", mod.read_text(), re.MULTILINE) for mod in MODULES.glob("*/go.mod")]
    assert [path for paths in replaced for path in paths if path.startswith("/") or ".." in path] == []


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ('"greeting/greeting"', '"greeting/other"', "image.page.files: 'greeting/other': there is no such binary"),
        ('"greeting:page.txt"', '"other:page.txt"', "image.page.files: 'other:page.txt': there is no entry go.other"),
        ('base = "scratch"', 'base = "alpine"', "image.page.base: 'alpine' is neither"),
        ("{greeting.number}", "{other}", "image.page.upstream"),
        ('"registry.test/page', '"Greeting', "image.page.upstream: 'Greeting:1.2.3' is not host/repository:tag"),
        (VERSION, 'version = "v1.2.4"', "go.greeting.version: v1.2.4, but its go.mod requires v1.2.3"),
        (VERSION, 'version = "latest"', "go.greeting.version"),
        ('base = "scratch"', 'base = "scratch"\ncolour = 1', "image.page.colour"),
        ("[go.greeting.binaries]", "[go.missing]", "go.missing"),
    ],
)  # fmt: skip
def test_load_invalid_table_names_the_fault(tmp_path: Path, old: str, new: str, error: str) -> None:
    assert error in load_error(tmp_path, old, new)


def test_load_duplicate_image_name_fails(tmp_path: Path) -> None:
    second = '[image.second]\nupstream = "registry.test/page:1.2.3"\nbase = "scratch"\n[image.page]'
    error = load_error(tmp_path, "[image.page]", second)
    assert "registry.test/page:1.2.3 is already the name of image.second" in error
