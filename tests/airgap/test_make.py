"""Making a bundle: what is missing is made, what is there is kept, what fails is named, and all is written down."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from airgap.bundle import index, preflight
from airgap.bundle.artifacts import Items
from airgap.bundle.build import make, prune
from airgap.bundle.builders.go_program import Go
from airgap.bundle.errors import BundleError
from airgap.bundle.sbom import BillOfMaterials
from airgap.bundle.selection import choose
from airgap.bundle.sources import Table, load
from airgap.bundle.store import Store
from tests.airgap import proxy
from tests.airgap.conftest import needs_go


@dataclass(frozen=True)
class Maker:
    """A bundle of one small module."""

    table: Table
    store: Store
    modules: Path

    @property
    def go(self) -> Go:
        return Go.find(self.store, 1)

    @property
    def items(self) -> Items:
        return Items.of(self.table, self.store, self.go, self.modules)

    def make(self) -> None:
        choice = choose(self.table, "build", frozenset({"greeting"}), lambda host: False)
        make(self.table, self.store, self.items, choice)

    def written(self) -> dict[str, Any]:
        """The bill of materials, after writing both files."""
        index.write(self.table, self.store, self.items, BillOfMaterials(self.table, self.go), prefer_copies=False)
        bill: dict[str, Any] = json.loads((self.store.root / index.SBOM).read_text())
        return bill


@pytest.fixture
def maker(tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> Maker:
    monkeypatch.setenv("GOPROXY", proxy.serve(tmp_path / "proxy"))
    monkeypatch.setenv("GOMODCACHE", str(tmp_path / "modcache"))
    modules = proxy.module(tmp_path / "modules")
    (tmp_path / "sources.toml").write_text(proxy.TABLE)
    return Maker(load(tmp_path / "sources.toml", modules), store, modules)


@needs_go
def test_what_is_there_is_not_made_again(maker: Maker, capsys: pytest.CaptureFixture[str]) -> None:
    maker.make()
    maker.make()
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("[1/1] binaries greeting: made, ")
    assert second.startswith("[1/1] binaries greeting: there, ")


@needs_go
def test_an_item_that_fails_is_named_with_its_log(maker: Maker) -> None:
    (maker.modules / "greeting" / "go.mod").write_text("module own\n\ngo 1.20\n\nrequire nothing\n")
    with pytest.raises(BundleError, match=r"^greeting: .*go\.mod"):
        maker.make()
    assert list((maker.store.root / "binaries").iterdir()) == []


@needs_go
def test_the_index_tells_where_each_binary_is(maker: Maker) -> None:
    maker.make()
    maker.written()
    binary = index.read(maker.store)["binaries"]["greeting/greeting"]
    assert binary["version"] == proxy.VERSION
    assert (maker.store.root / binary["path"]).stat().st_size == binary["size"]


@needs_go
def test_the_bill_of_materials_lists_modules_with_their_sums_and_is_the_same_each_time(maker: Maker) -> None:
    maker.make()
    bill = maker.written()
    assert bill == maker.written()
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    components = {component["purl"]: component for component in bill["components"]}
    module = components[f"pkg:golang/{proxy.MODULE}@{proxy.VERSION}"]
    (sum_,) = [p["value"] for p in module["properties"] if p["name"] == "mlplatform:go.sum"]
    assert f"{proxy.MODULE} {proxy.VERSION} {sum_}\n" in (maker.modules / "greeting" / "go.sum").read_text()
    binary = components[f"pkg:generic/greeting/greeting@{proxy.VERSION}"]
    assert binary["hashes"] == [
        {"alg": "SHA-256", "content": index.read(maker.store)["binaries"]["greeting/greeting"]["sha256"]}
    ]
    (holds,) = [d["dependsOn"] for d in bill["dependencies"] if d["ref"] == binary["bom-ref"]]
    assert holds == [module["bom-ref"]]


@needs_go
def test_what_other_versions_left_is_pruned_and_what_counts_stays(maker: Maker) -> None:
    maker.make()
    item = maker.items.binaries_at["greeting"]
    for stale in ("greeting-0000", ".greeting-1111.partial"):
        shutil.copytree(item.folder, item.folder.with_name(stale))
    assert prune(maker.store, maker.items) == 2
    assert list(item.folder.parent.iterdir()) == [item.folder]


def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(BundleError, match=r"sudo apt-get install .* one-package"):
        preflight.require({"a-program-that-nobody-has": "one-package"})


def test_images_are_not_built_without_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(BundleError, match="takes root"):
        preflight.require_root("Building images")
