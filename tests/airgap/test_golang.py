"""Go modules are built only if each is of the sum that is committed, and the same each time."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from airgap.bundle.builders.go_program import PLACES, STRICT, Go, GoBuild, default_name
from airgap.bundle.errors import BundleError
from airgap.bundle.process import output_of
from airgap.bundle.progress import Progress
from airgap.bundle.sources import load
from airgap.bundle.store import Item, Store
from tests.airgap import proxy
from tests.airgap.conftest import needs_go


@pytest.fixture
def greeting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GoBuild:
    """The build of one small module from a proxy in a folder, where the user lets Go write missing sums by itself."""
    monkeypatch.setenv("GOPROXY", proxy.serve(tmp_path / "proxy"))
    monkeypatch.setenv("GOMODCACHE", str(tmp_path / "modcache"))
    monkeypatch.setenv("GOFLAGS", "-mod=mod")
    modules = proxy.module(tmp_path / "modules")
    (tmp_path / "sources.toml").write_text(proxy.TABLE)
    table = load(tmp_path / "sources.toml", modules)
    return GoBuild(Go.find(Store(tmp_path / "bundle"), 1), table, "greeting", table.go["greeting"], modules)


def built(build: GoBuild, store: Store) -> Item:
    build.build(item := build.item(store), Progress("greeting"))
    return item


def output(item: Item) -> str:
    return subprocess.run([item.folder / "greeting"], capture_output=True, text=True, check=True).stderr


@needs_go
def test_of_the_users_settings_go_gets_its_places_alone(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both ways that there are to set them. Which modules Go checks is nothing that could be among them."""
    (tmp_path / "env").write_text(f"GOPROXY=file://{tmp_path}\nGOVCS=example.test:git\n")
    monkeypatch.delenv("GOPROXY", raising=False)
    monkeypatch.setenv("GOENV", str(tmp_path / "env"))
    monkeypatch.setenv("GONOPROXY", "example.test")
    go = Go.find(store, 1)
    assert {name for name in go.environment if name.startswith("GO")} == {*PLACES, *STRICT, "GOMAXPROCS"} - {
        "CGO_CFLAGS"
    }
    # What is then other than Go's own defaults: the user's proxy, and nothing of which modules are checked by what.
    changed = json.loads(output_of([go.program, "env", "-changed", "-json"], env=go.environment))
    assert set(changed) <= {*PLACES, "CGO_CFLAGS", "CGO_ENABLED", "GOENV", "GOFLAGS", "GOTOOLCHAIN", "GOWORK"}
    assert changed["GOPROXY"] == f"file://{tmp_path}"
    assert "-mod=readonly" in changed["GOFLAGS"]


@needs_go
def test_a_module_is_built_with_the_files_that_images_take_and_twice_the_same(
    greeting: GoBuild, tmp_path: Path
) -> None:
    first, second = built(greeting, Store(tmp_path / "a")), built(greeting, Store(tmp_path / "b"))
    assert output(first) == "hello\n"
    assert (first.folder / "upstream" / "page.txt").read_text() == proxy.FILES["page.txt"]
    assert first.record()["binaries"] == second.record()["binaries"]
    assert {file.name for file in first.folder.iterdir()} == {"greeting", "upstream", "entry.json"}


@needs_go
@pytest.mark.parametrize("kept_lines", [0, 1])
def test_a_sum_that_is_missing_stops_the_build(greeting: GoBuild, store: Store, kept_lines: int) -> None:
    sums = greeting.folder / "go.sum"
    sums.write_text("".join(sums.read_text().splitlines(keepends=True)[:kept_lines]))
    with pytest.raises(BundleError, match=r"go\.sum"):
        built(greeting, store)
    assert not greeting.item(store).there


@needs_go
def test_a_sum_that_differs_stops_the_build(greeting: GoBuild, store: Store) -> None:
    sums = greeting.folder / "go.sum"
    module, version, digest, *rest = sums.read_text().split(maxsplit=3)
    sums.write_text(f"{module} {version} h1:{'A' * 43}=\n{rest[0]}")
    with pytest.raises(BundleError, match="checksum mismatch"):
        built(greeting, store)
    assert not greeting.item(store).there
    assert digest != f"h1:{'A' * 43}="


@needs_go
def test_a_module_that_was_changed_after_its_download_stops_the_build(
    greeting: GoBuild, store: Store, tmp_path: Path
) -> None:
    built(greeting, Store(tmp_path / "before"))
    source = tmp_path / "modcache" / f"{proxy.MODULE}@{proxy.VERSION}" / "main.go"
    source.chmod(0o644)
    source.write_text('package main\n\nfunc main() { println("changed") }\n')
    with pytest.raises(BundleError, match="dir has been modified"):
        built(greeting, store)


@needs_go
def test_a_patch_of_ours_is_applied_to_a_copy(greeting: GoBuild, store: Store) -> None:
    patch = '--- a/main.go\n+++ b/main.go\n@@ -1,3 +1,3 @@\n package main\n \n-func main() { println("hello") }\n'
    (greeting.folder / "word.patch").write_text(patch + '+func main() { println("patched") }\n')
    source = greeting.source.model_copy(update={"patched": {proxy.MODULE: "word.patch"}})
    item = built(GoBuild(greeting.go, greeting.table, "greeting", source, greeting.modules), store)
    assert output(item) == "patched\n"


@needs_go
def test_a_module_that_the_proxy_refuses_is_named(greeting: GoBuild, store: Store, tmp_path: Path) -> None:
    (tmp_path / "proxy" / proxy.MODULE / "@v" / f"{proxy.VERSION}.zip").unlink()
    with pytest.raises(BundleError, match=f"{proxy.MODULE}@{proxy.VERSION}"):
        built(greeting, store)


@needs_go
def test_the_key_follows_every_file_of_the_module_and_the_toolchain(greeting: GoBuild, store: Store) -> None:
    before = greeting.item(store).key
    assert greeting.item(store).key == before
    (greeting.folder / "extra.patch").write_text("x")
    with_file = greeting.item(store).key
    other_go = Go(greeting.go.program, greeting.go.environment, "go0.0", greeting.go.architecture, 1)
    with_go = GoBuild(other_go, greeting.table, "greeting", greeting.source, greeting.modules).item(store).key
    assert len({before, with_file, with_go}) == 3


def test_binaries_are_found_under_the_name_that_go_gives_them() -> None:
    assert [default_name(p) for p in ("a.test/b/v3", "a.test/b/cmd/c", "a.test")] == ["b", "c", "a.test"]
