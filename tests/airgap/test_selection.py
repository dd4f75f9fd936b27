"""The selection of built and copied images, by the arguments and the reachable registries."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from airgap.bundle import index
from airgap.bundle.builders.upstream_image import ImageCopy
from airgap.bundle.selection import select_artifacts
from airgap.bundle.source_table import load_sources
from airgap.bundle.store import Store
from tests.airgap.conftest import needs_skopeo
from tools.bootstrap.console import SetupError

TABLE = load_sources()
EVERYTHING = list(TABLE.programs)
UPSTREAM_TOO = [name for name in TABLE.image if not TABLE.upstream_name(name).startswith("mlplatform.internal/")]
NO_ENTRIES = frozenset[str]()


def test_select_without_upstream_builds_all_and_lists_unavailable_images() -> None:
    selection = select_artifacts(TABLE, "auto", NO_ENTRIES, lambda host: False)
    assert (selection.sources, selection.built, selection.copied) == (EVERYTHING, list(TABLE.image), [])
    assert selection.unavailable == TABLE.upstream.images


def test_select_with_upstream_copies_all_images() -> None:
    selection = select_artifacts(TABLE, "auto", NO_ENTRIES, lambda host: True)
    assert (selection.sources, selection.bases, selection.built, selection.unavailable) == ([], [], [], [])
    assert selection.copied == [*UPSTREAM_TOO, *TABLE.upstream.images]


def test_select_one_unreachable_registry_builds_its_images_and_their_inputs() -> None:
    selection = select_artifacts(TABLE, "auto", NO_ENTRIES, lambda host: host != "docker.io")
    assert (selection.sources, selection.bases) == (["weave", "prometheus"], ["tools", "python", "nginx"])
    assert selection.built == ["weave-kube", "weave-npc", "prometheus", "nginx", "python"]


def test_select_explicit_origin_sends_no_request() -> None:
    def fail_on_request(host: str) -> bool:
        raise AssertionError(host)

    assert select_artifacts(TABLE, "build", NO_ENTRIES, fail_on_request).built == list(TABLE.image)
    assert select_artifacts(TABLE, "copy", NO_ENTRIES, fail_on_request).copied == [
        *UPSTREAM_TOO,
        *TABLE.upstream.images,
    ]


def test_select_one_entry_builds_its_inputs() -> None:
    selection = select_artifacts(TABLE, "build", frozenset({"kube-proxy"}), lambda host: False)
    assert (selection.sources, selection.bases, selection.built) == (["kubernetes"], ["tools"], ["kube-proxy"])


def test_select_no_images_builds_binaries_only() -> None:
    selection = select_artifacts(TABLE, "none", NO_ENTRIES, lambda host: True)
    assert (selection.sources, selection.bases, selection.built, selection.copied) == (EVERYTHING, [], [], [])
    assert select_artifacts(TABLE, "none", frozenset({"etcd"}), lambda host: True).sources == ["etcd"]


def test_select_unknown_entry_fails_with_known_entries() -> None:
    with pytest.raises(SetupError, match=r"no entry kubernets.*kubernetes"):
        select_artifacts(TABLE, "build", frozenset({"kubernets"}), lambda host: False)


def test_image_copy_command_names_upstream_and_architecture() -> None:
    command = " ".join(ImageCopy("registry.test/a/b:1.0", "arm64").command(Path("/cache/layout")))
    assert command == (
        "skopeo --override-os linux --override-arch arm64 copy --retry-times 3 "
        "docker://registry.test/a/b:1.0 oci:/cache/layout:bundle"
    )


def test_image_copy_with_a_known_digest_copies_that_content(tmp_path: Path) -> None:
    copy = ImageCopy("registry.test/a/b:1.0", "arm64", "sha256:0")
    assert "docker://registry.test/a/b@sha256:0" in copy.command(Path("/cache/layout"))
    store = Store(tmp_path)
    assert copy.artifact(store).key != ImageCopy("registry.test/a/b:1.0", "arm64").artifact(store).key


def test_image_copy_command_from_file_names_the_file() -> None:
    command = ImageCopy("registry.test/a/b:1.0", "arm64").command(Path("/cache/layout"), "oci:/media/stick/b:saved")
    assert command[-2:] == ["oci:/media/stick/b:saved", "oci:/cache/layout:bundle"]


@needs_skopeo
def test_import_unknown_image_fails_with_known_images(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "airgap.bundle", "import", "registry.test/a/b:1.0", "oci:/media/stick/b"]
    environment = os.environ | {"MLPLATFORM_CACHE": str(tmp_path)}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 1
    assert "Error: registry.test/a/b:1.0 is not under [upstream]" in done.stdout
    assert TABLE.upstream.images[0] in done.stdout


def test_missing_images_of_another_version_lists_new_images(store: Store) -> None:
    names = [name for name in map(TABLE.upstream_name, TABLE.image) if not name.startswith("mlplatform.internal/")]
    store.root.mkdir()
    (store.root / index.INDEX).write_text(json.dumps({"images": {name: {} for name in names[1:]}}))
    assert index.missing_images(TABLE, store) == names[:1]


def test_missing_images_of_a_built_bundle_list_new_internal_images(store: Store) -> None:
    names = [TABLE.upstream_name(name) for name, image in TABLE.image.items() if not image.optional]
    runtime = TABLE.upstream_name("container-runtime")
    store.root.mkdir()
    (store.root / index.INDEX).write_text(json.dumps({"images": {name: {} for name in names if name != runtime}}))
    assert index.missing_images(TABLE, store) == [runtime]


def test_missing_images_leave_out_those_that_only_some_stacks_use(store: Store) -> None:
    names = {name: TABLE.upstream_name(name) for name in ("postgresql", "seaweedfs", "pause")}
    store.root.mkdir()
    (store.root / index.INDEX).write_text(json.dumps({"images": {}}))
    missing = index.missing_images(TABLE, store)
    assert names["pause"] in missing
    assert {names["postgresql"], names["seaweedfs"]}.isdisjoint(missing)


def test_entry_of_an_optional_image_has_the_same_key_as_before() -> None:
    assert "optional" not in TABLE.image["seaweedfs"].model_dump()
