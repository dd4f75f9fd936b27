"""Builds of a bundle: missing artifacts are built, existing ones kept, failures named, and results recorded."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from airgap.bundle import index
from airgap.bundle.artifacts import Artifacts
from airgap.bundle.build import build_selection, prune_artifacts
from airgap.bundle.build_requirements import require_programs, require_root_for
from airgap.bundle.builders.go_program import GoToolchain
from airgap.bundle.index import read_index, write_index
from airgap.bundle.sbom import BillOfMaterials
from airgap.bundle.selection import select_artifacts
from airgap.bundle.source_table import SourceTable, load_sources
from airgap.bundle.store import Store
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
def test_prune_removes_only_other_versions(bundle: BundleBuild) -> None:
    bundle.build_selection()
    artifact = bundle.artifacts.binary_artifacts["greeting"]
    for stale in ("greeting-0000", ".greeting-1111.partial"):
        shutil.copytree(artifact.folder, artifact.folder.with_name(stale))
    assert prune_artifacts(bundle.store, bundle.artifacts) == 2
    assert list(artifact.folder.parent.iterdir()) == [artifact.folder]


def test_require_missing_package_fails_with_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(SetupError, match=r"sudo apt-get install .* one-package"):
        require_programs({"a-missing-program": "one-package"})


def test_require_root_without_root_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(SetupError, match="needs root"):
        require_root_for("Building images")
