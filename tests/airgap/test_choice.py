"""What is built and what is copied, by what is asked for and what can be reached."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from airgap.bundle import index
from airgap.bundle.builders.upstream_image import ImageCopy
from airgap.bundle.errors import BundleError
from airgap.bundle.selection import choose
from airgap.bundle.sources import load
from airgap.bundle.store import Store
from tests.airgap.conftest import needs_skopeo

TABLE = load()
EVERYTHING = [*TABLE.c, *TABLE.go]
UPSTREAM_TOO = [name for name in TABLE.image if not TABLE.upstream_name(name).startswith("mlplatform.internal/")]
NOBODY = frozenset[str]()


def test_without_upstream_everything_is_built_and_what_cannot_be_is_named() -> None:
    choice = choose(TABLE, "auto", NOBODY, lambda host: False)
    assert (choice.sources, choice.built, choice.copied) == (EVERYTHING, list(TABLE.image), [])
    assert choice.left_out == TABLE.upstream.images


def test_with_upstream_every_image_is_copied_and_nothing_built() -> None:
    choice = choose(TABLE, "auto", NOBODY, lambda host: True)
    assert (choice.sources, choice.bases, choice.built, choice.left_out) == ([], [], [], [])
    assert choice.copied == [*UPSTREAM_TOO, *TABLE.upstream.images]


def test_an_image_whose_upstream_alone_is_out_of_reach_is_built_with_what_it_takes() -> None:
    choice = choose(TABLE, "auto", NOBODY, lambda host: host != "docker.io")
    assert (choice.sources, choice.bases) == (["weave", "prometheus"], ["tools", "python"])
    assert choice.built == ["weave-kube", "weave-npc", "prometheus", "python"]


def test_asked_to_build_nothing_is_asked_of_the_network() -> None:
    def unasked(host: str) -> bool:
        raise AssertionError(host)

    assert choose(TABLE, "build", NOBODY, unasked).built == list(TABLE.image)
    assert choose(TABLE, "copy", NOBODY, unasked).copied == [*UPSTREAM_TOO, *TABLE.upstream.images]


def test_one_entry_is_built_with_what_is_in_it() -> None:
    choice = choose(TABLE, "build", frozenset({"kube-proxy"}), lambda host: False)
    assert (choice.sources, choice.bases, choice.built) == (["kubernetes"], ["tools"], ["kube-proxy"])


def test_without_images_only_binaries_are_built() -> None:
    choice = choose(TABLE, "none", NOBODY, lambda host: True)
    assert (choice.sources, choice.bases, choice.built, choice.copied) == (EVERYTHING, [], [], [])
    assert choose(TABLE, "none", frozenset({"etcd"}), lambda host: True).sources == ["etcd"]


def test_an_entry_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(BundleError, match=r"no entry kubernets.*kubernetes"):
        choose(TABLE, "build", frozenset({"kubernets"}), lambda host: False)


def test_the_command_that_copies_names_the_upstream_and_this_machine() -> None:
    command = " ".join(ImageCopy("registry.test/a/b:1.0", "arm64").command(Path("/cache/layout")))
    assert command == (
        "skopeo --override-os linux --override-arch arm64 copy --retry-times 3 "
        "docker://registry.test/a/b:1.0 oci:/cache/layout:bundle"
    )


def test_an_image_that_was_brought_as_a_file_is_copied_from_there() -> None:
    command = ImageCopy("registry.test/a/b:1.0", "arm64").command(Path("/cache/layout"), "oci:/media/stick/b:saved")
    assert command[-2:] == ["oci:/media/stick/b:saved", "oci:/cache/layout:bundle"]


@needs_skopeo
def test_an_image_that_is_not_in_the_table_is_not_imported(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "airgap.bundle", "import", "registry.test/a/b:1.0", "oci:/media/stick/b"]
    environment = os.environ | {"MLPLATFORM_CACHE": str(tmp_path)}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 1
    assert "Error: registry.test/a/b:1.0 is not under [upstream]" in done.stdout
    assert TABLE.upstream.images[0] in done.stdout


def test_a_bundle_of_another_version_lacks_what_is_new(store: Store) -> None:
    names = [name for name in map(TABLE.upstream_name, TABLE.image) if not name.startswith("mlplatform.internal/")]
    store.root.mkdir()
    (store.root / index.INDEX).write_text(json.dumps({"images": {name: {} for name in names[1:]}}))
    assert index.lacking(TABLE, store) == names[:1]
