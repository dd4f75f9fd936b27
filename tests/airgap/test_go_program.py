"""Builds of Go modules: sums are verified, and builds are reproducible."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from airgap.bundle.builders.go_program import STRICT, USER_SETTINGS, GoBuild, GoToolchain, default_name
from airgap.bundle.progress import Progress
from airgap.bundle.source_table import BinaryOfTests, load_sources
from airgap.bundle.store import Artifact, Store
from tests.airgap import proxy
from tests.airgap.conftest import needs_go
from tools.bootstrap.console import SetupError
from tools.bootstrap.process import capture


@pytest.fixture
def greeting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GoBuild:
    """Return the build of a small module from a proxy in a folder; the user's GOFLAGS let Go add missing sums."""
    monkeypatch.setenv("GOPROXY", proxy.serve(tmp_path / "proxy"))
    monkeypatch.setenv("GOMODCACHE", str(tmp_path / "modcache"))
    monkeypatch.setenv("GOFLAGS", "-mod=mod")
    modules = proxy.module(tmp_path / "modules")
    (tmp_path / "sources.toml").write_text(proxy.TABLE)
    table = load_sources(tmp_path / "sources.toml", modules)
    return GoBuild(GoToolchain.find(Store(tmp_path / "bundle"), 1), table, "greeting", table.go["greeting"], modules)


def built(build: GoBuild, store: Store) -> Artifact:
    build.build(artifact := build.artifact(store), Progress("greeting", "greeting"))
    return artifact


def output(artifact: Artifact) -> str:
    return subprocess.run([artifact.folder / "greeting"], capture_output=True, text=True, check=True).stderr


@needs_go
def test_go_environment_keeps_only_sources_and_folders_of_the_user(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settings come from the environment and from `go env -w`; none may disable checks of modules."""
    (tmp_path / "env").write_text(f"GOPROXY=file://{tmp_path}\nGOVCS=example.test:git\n")
    monkeypatch.delenv("GOPROXY", raising=False)
    monkeypatch.setenv("GOENV", str(tmp_path / "env"))
    monkeypatch.setenv("GONOPROXY", "example.test")
    go = GoToolchain.find(store, 1)
    assert {name for name in go.environment if name.startswith("GO")} == {*USER_SETTINGS, *STRICT, "GOMAXPROCS"} - {
        "CGO_CFLAGS"
    }
    # Changed from Go's defaults: the user's proxy, and no setting of module checks.
    changed = json.loads(capture([go.program, "env", "-changed", "-json"], env=go.environment))
    assert set(changed) <= {*USER_SETTINGS, "CGO_CFLAGS", "CGO_ENABLED", "GOENV", "GOFLAGS", "GOTOOLCHAIN", "GOWORK"}
    assert changed["GOPROXY"] == f"file://{tmp_path}"
    assert "-mod=readonly" in changed["GOFLAGS"]


@needs_go
def test_build_includes_files_for_images_and_is_reproducible(greeting: GoBuild, tmp_path: Path) -> None:
    first, second = built(greeting, Store(tmp_path / "a")), built(greeting, Store(tmp_path / "b"))
    assert output(first) == "hello\n"
    assert (first.folder / "upstream" / "page.txt").read_text() == proxy.FILES["page.txt"]
    assert first.record()["binaries"] == second.record()["binaries"]
    assert {file.name for file in first.folder.iterdir()} == {"greeting", "upstream", "entry.json"}


@needs_go
def test_build_of_tests_is_a_program_that_runs_them(greeting: GoBuild, store: Store) -> None:
    binaries = {"greeting": BinaryOfTests(package=proxy.MODULE, test=True)}
    source = greeting.source.model_copy(update={"binaries": binaries})
    artifact = built(GoBuild(greeting.go, greeting.table, "greeting", source, greeting.modules), store)
    assert output(artifact) == "tested\n"


@needs_go
@pytest.mark.parametrize("kept_lines", [0, 1])
def test_build_missing_sum_fails(greeting: GoBuild, store: Store, kept_lines: int) -> None:
    sums = greeting.folder / "go.sum"
    sums.write_text("".join(sums.read_text().splitlines(keepends=True)[:kept_lines]))
    with pytest.raises(SetupError, match=r"go\.sum"):
        built(greeting, store)
    assert not greeting.artifact(store).exists


@needs_go
def test_build_wrong_sum_fails(greeting: GoBuild, store: Store) -> None:
    sums = greeting.folder / "go.sum"
    module, version, digest, *rest = sums.read_text().split(maxsplit=3)
    sums.write_text(f"{module} {version} h1:{'A' * 43}=\n{rest[0]}")
    with pytest.raises(SetupError, match="checksum mismatch"):
        built(greeting, store)
    assert not greeting.artifact(store).exists
    assert digest != f"h1:{'A' * 43}="


@needs_go
def test_build_modified_module_cache_fails(greeting: GoBuild, store: Store, tmp_path: Path) -> None:
    built(greeting, Store(tmp_path / "before"))
    source = tmp_path / "modcache" / f"{proxy.MODULE}@{proxy.VERSION}" / "main.go"
    source.chmod(0o644)
    source.write_text('package main\n\nfunc main() { println("changed") }\n')
    with pytest.raises(SetupError, match="dir has been modified"):
        built(greeting, store)


@needs_go
def test_build_patched_module_uses_the_patch(greeting: GoBuild, store: Store) -> None:
    patch = '--- a/main.go\n+++ b/main.go\n@@ -1,3 +1,3 @@\n package main\n \n-func main() { println("hello") }\n'
    (greeting.folder / "word.patch").write_text(patch + '+func main() { println("patched") }\n')
    source = greeting.source.model_copy(update={"patched": {proxy.MODULE: "word.patch"}})
    artifact = built(GoBuild(greeting.go, greeting.table, "greeting", source, greeting.modules), store)
    assert output(artifact) == "patched\n"


@needs_go
def test_build_unavailable_module_fails_with_its_name(greeting: GoBuild, store: Store, tmp_path: Path) -> None:
    (tmp_path / "proxy" / proxy.MODULE / "@v" / f"{proxy.VERSION}.zip").unlink()
    with pytest.raises(SetupError, match=f"{proxy.MODULE}@{proxy.VERSION}"):
        built(greeting, store)


@needs_go
def test_key_changes_with_files_and_toolchain(greeting: GoBuild, store: Store) -> None:
    before = greeting.artifact(store).key
    assert greeting.artifact(store).key == before
    (greeting.folder / "extra.patch").write_text("x")
    with_file = greeting.artifact(store).key
    other_go = GoToolchain(greeting.go.program, greeting.go.environment, "go0.0", greeting.go.architecture, 1)
    with_go = GoBuild(other_go, greeting.table, "greeting", greeting.source, greeting.modules).artifact(store).key
    assert len({before, with_file, with_go}) == 3


def test_default_name_follows_go_build() -> None:
    assert [default_name(p) for p in ("a.test/b/v3", "a.test/b/cmd/c", "a.test")] == ["b", "c", "a.test"]
