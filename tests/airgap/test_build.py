"""Builds of a bundle: missing artifacts are built, existing ones kept, failures named, and results recorded."""

from __future__ import annotations

import json
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from airgap.bundle import index
from airgap.bundle.artifacts import Artifacts
from airgap.bundle.build import build_selection
from airgap.bundle.build_requirements import require_programs, require_root_for
from airgap.bundle.builders.go_program import GoToolchain
from airgap.bundle.index import read_index, write_index
from airgap.bundle.pruning.old_artifacts import prune_artifacts
from airgap.bundle.sbom import BillOfMaterials
from airgap.bundle.selection import select_artifacts
from airgap.bundle.source_table import SourceTable, load_sources
from airgap.bundle.store import Store, StoreRule
from tests.airgap import proxy
from tests.airgap.conftest import needs_go
from tools.bootstrap.console import SetupError


@dataclass(frozen=True)
class BundleBuild:
    """A bundle of a small module."""

    table: SourceTable
    store: Store
    modules: Path

    @property
    def go(self) -> GoToolchain:
        return GoToolchain.find(self.store, 1)

    @property
    def artifacts(self) -> Artifacts:
        return Artifacts.of(self.table, self.store, self.go, self.modules)

    def build_selection(self) -> None:
        selection = select_artifacts(self.table, "build", frozenset({"greeting"}), lambda host: False)
        build_selection(self.table, self.store, self.artifacts, selection)

    def write_index(self) -> dict[str, Any]:
        """Write the index and the bill of materials; return the latter."""
        write_index(self.table, self.store, self.artifacts, BillOfMaterials(self.table, self.go), prefer_copies=False)
        bill: dict[str, Any] = json.loads((self.store.root / index.SBOM).read_text())
        return bill


@pytest.fixture
def bundle(tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> BundleBuild:
    monkeypatch.setenv("GOPROXY", proxy.serve(tmp_path / "proxy"))
    monkeypatch.setenv("GOMODCACHE", str(tmp_path / "modcache"))
    modules = proxy.module(tmp_path / "modules")
    (tmp_path / "sources.toml").write_text(proxy.TABLE)
    return BundleBuild(load_sources(tmp_path / "sources.toml", modules), store, modules)


@needs_go
def test_build_existing_artifact_is_not_rebuilt(bundle: BundleBuild, capsys: pytest.CaptureFixture[str]) -> None:
    bundle.build_selection()
    bundle.build_selection()
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("[1/1] binaries greeting: built, ")
    assert second.startswith("[1/1] binaries greeting: already built, ")


@needs_go
def test_build_failing_artifact_is_named(bundle: BundleBuild) -> None:
    (bundle.modules / "greeting" / "go.mod").write_text("module own\n\ngo 1.20\n\nrequire nothing\n")
    with pytest.raises(SetupError, match=r"^greeting: .*go\.mod"):
        bundle.build_selection()
    assert list((bundle.store.root / "binaries").iterdir()) == []


@needs_go
def test_index_lists_path_and_size_of_each_binary(bundle: BundleBuild) -> None:
    bundle.build_selection()
    bundle.write_index()
    binary = read_index(bundle.store)["binaries"]["greeting/greeting"]
    assert binary["version"] == proxy.VERSION
    assert (bundle.store.root / binary["path"]).stat().st_size == binary["size"]


@needs_go
def test_bill_of_materials_lists_modules_with_sums_and_is_reproducible(bundle: BundleBuild) -> None:
    bundle.build_selection()
    bill = bundle.write_index()
    assert bill == bundle.write_index()
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    components = {component["purl"]: component for component in bill["components"]}
    module = components[f"pkg:golang/{proxy.MODULE}@{proxy.VERSION}"]
    (sum_,) = [p["value"] for p in module["properties"] if p["name"] == "mlplatform:go.sum"]
    assert f"{proxy.MODULE} {proxy.VERSION} {sum_}\n" in (bundle.modules / "greeting" / "go.sum").read_text()
    binary = components[f"pkg:generic/greeting/greeting@{proxy.VERSION}"]
    assert binary["hashes"] == [
        {"alg": "SHA-256", "content": read_index(bundle.store)["binaries"]["greeting/greeting"]["sha256"]}
    ]
    (dependencies,) = [d["dependsOn"] for d in bill["dependencies"] if d["ref"] == binary["bom-ref"]]
    assert dependencies == [module["bom-ref"]]


@needs_go
def test_prune_removes_old_other_versions_and_keeps_those_of_other_checkouts(
    bundle: BundleBuild, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle.build_selection()
    bundle.write_index()
    artifact = bundle.artifacts.binary_artifacts["greeting"]
    others = {
        name: shutil.copytree(artifact.folder, artifact.folder.with_name(name))
        for name in (*(f"greeting-{number * 16}" for number in "1234"), f".greeting-{'5' * 16}.partial")
    }
    indexed, oldest, old, young, partial = others.values()
    index = bundle.store.root / "bundle.json"
    index.write_text(index.read_text().replace(artifact.folder.name, indexed.name))
    for folder, days in ((artifact.folder, 99), (indexed, 90), (oldest, 80), (old, 70), (young, 10), (partial, 60)):
        for path in (folder, folder / "entry.json"):
            used = time.time() - 86400 * days
            os.utime(path, (used, used))
    before = sorted(artifact.folder.parent.iterdir())

    def prune(rule: StoreRule, *, dry_run: bool = False) -> list[Path]:
        return prune_artifacts(bundle.store, bundle.artifacts, rule, dry_run=dry_run)

    assert prune(StoreRule(days=365, newest=0)) == []
    assert prune(StoreRule(days=30, newest=3)) == [partial]
    assert set(prune(StoreRule(days=30, newest=1), dry_run=True)) == {old, oldest}
    assert "2 folders of other versions would be removed" in capsys.readouterr().err
    assert sorted([*artifact.folder.parent.iterdir(), partial]) == before
    assert set(prune(StoreRule(days=30, newest=1))) == {old, oldest}
    assert set(artifact.folder.parent.iterdir()) == {artifact.folder, indexed, young}
    # A build of this version shows that it is in use.
    bundle.write_index()
    assert time.time() - (artifact.folder / "entry.json").stat().st_mtime < 86400


def test_require_missing_package_fails_with_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(SetupError, match=r"sudo apt-get install .* one-package"):
        require_programs({"a-missing-program": "one-package"})


def test_require_root_without_root_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(SetupError, match="needs root"):
        require_root_for("Building images")
