"""The deletion of replaced images from the registry, with Debian's docker-registry."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from pathlib import Path

import pytest

from airgap.bundle.builders.debian_image import TAG
from airgap.bundle.pruning.replaced_images import prune_built_images
from airgap.bundle.registry import bundle_registry
from airgap.bundle.registry.bundle_registry import RunningRegistry
from airgap.bundle.store import Store, StoreRule
from tests.airgap import oci
from tests.airgap.conftest import needs_skopeo

PROGRAM = bundle_registry.program(Store.default())
pytestmark = [
    needs_skopeo,
    pytest.mark.skipif(
        PROGRAM is None, reason="docker-registry is missing; `python -m airgap.bundle registry start` unpacks it"
    ),
]
MEGABYTE = 1_000_000
COMMON = b"c" * MEGABYTE
SERVER = "mlplatform/server"
YEAR = 365 * 86_400
EVERY_OLD_ONE = StoreRule(days=30, newest=0)


@pytest.fixture(autouse=True)
def cache(store: Store, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a cache folder with the state of the stack `lab`, which has a registry."""
    assert PROGRAM is not None
    monkeypatch.setenv("PATH", f"{PROGRAM.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("MLPLATFORM_CACHE", str(store.root.parent))
    cache = store.root.parent
    (cache / "stacks" / "lab" / "registry").mkdir(parents=True)
    state(cache).parent.mkdir(parents=True)
    state(cache).write_text("{}")
    return cache


def state(cache: Path) -> Path:
    return cache / "state" / ".pulumi" / "stacks" / "mlplatform" / "lab.json"


def push(store: Store, repository: str, tag: str, content: bytes, years: float) -> str:
    """Push an image with a common layer and its own one; return its digest. `years` is its age."""
    layout = store.root.parent / "layouts" / repository / tag
    digest = oci.image(layout, COMMON, content)
    with bundle_registry.writable(store) as own:
        options = ["--authfile", own.authfile, "--dest-cert-dir", own.certificates, "--preserve-digests", "--quiet"]
        target = f"docker://{own.host}/{repository}:{tag}"
        subprocess.run(["skopeo", "copy", *options, f"oci:{layout}:{TAG}", target], check=True)
    (link,) = (bundle_registry.home(store) / "data").glob(f"**/{repository}/_manifests/tags/{tag}/current/link")
    pushed = link.stat().st_mtime - years * YEAR
    os.utime(link, (pushed, pushed))
    return digest


def pulls(own: RunningRegistry, folder: Path, repository: str, reference: str) -> bool:
    """Return True if an image with all its layers can be pulled."""
    options = ["--authfile", own.authfile, "--src-cert-dir", own.certificates, "--quiet"]
    source, target = f"docker://{own.host}/{repository}{reference}", f"dir:{folder / reference[1:9]}"
    return subprocess.run(["skopeo", "copy", *options, source, target], capture_output=True).returncode == 0


def size(store: Store) -> int:
    return sum(file.stat().st_size for file in (bundle_registry.home(store) / "data").rglob("data"))


def test_prune_removes_the_layers_of_replaced_images_and_keeps_the_others(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    push(store, SERVER, "oldest", b"1" * MEGABYTE, years=3)
    push(store, SERVER, "replaced", b"2" * MEGABYTE, years=2)
    push(store, SERVER, "current", b"3" * MEGABYTE, years=1)
    push(store, "registry.test/team/word", "1.0", b"4" * MEGABYTE, years=3)
    prune_built_images(store, StoreRule(days=30, newest=1), dry_run=True)
    before = size(store)
    removed = prune_built_images(store, StoreRule(days=30, newest=1), dry_run=False)
    assert [image.tag for image in removed] == ["oldest"]
    assert MEGABYTE <= before - size(store) < 1.01 * MEGABYTE
    lines = [line for line in capsys.readouterr().err.splitlines() if "in the registry" in line]
    assert lines == ["1 images in the registry would be removed, 1.0 MB.", "1 images in the registry removed, 1.0 MB."]
    with bundle_registry.writable(store) as own:
        images = [(SERVER, ":oldest"), (SERVER, ":replaced"), (SERVER, ":current"), ("registry.test/team/word", ":1.0")]
        assert [pulls(own, tmp_path, *image) for image in images] == [False, True, True, True]


def test_prune_keeps_images_that_are_young_or_in_the_state_of_a_stack(store: Store, cache: Path) -> None:
    used = push(store, SERVER, "used", b"1" * MEGABYTE, years=3)
    push(store, SERVER, "young", b"2" * MEGABYTE, years=29 / 365)
    push(store, SERVER, "current", b"3" * MEGABYTE, years=0)
    state(cache).write_text(f'{{"reference": "10.20.0.1:5443/{SERVER}@{used}"}}')
    assert prune_built_images(store, EVERY_OLD_ONE, dry_run=False) == []
    state(cache).write_text("{}")
    assert [image.digest for image in prune_built_images(store, EVERY_OLD_ONE, dry_run=False)] == [used]


def test_prune_keeps_a_tag_whose_content_is_that_of_the_current_image(store: Store, tmp_path: Path) -> None:
    push(store, SERVER, "before", b"1" * MEGABYTE, years=2)
    push(store, SERVER, "current", b"1" * MEGABYTE, years=1)
    assert prune_built_images(store, EVERY_OLD_ONE, dry_run=False) == []
    with bundle_registry.writable(store) as own:
        assert pulls(own, tmp_path, SERVER, ":current")


def test_prune_keeps_all_images_if_the_state_of_a_stack_is_elsewhere(
    store: Store, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    push(store, SERVER, "old", b"1" * MEGABYTE, years=2)
    push(store, SERVER, "current", b"2" * MEGABYTE, years=1)
    state(cache).unlink()
    assert prune_built_images(store, EVERY_OLD_ONE, dry_run=False) == []
    error = capsys.readouterr().err
    assert "The images in the registry stay: the state of stacks with a registry is not on this computer" in error
    assert str(cache / "stacks" / "lab" / "registry") in error


def test_prune_of_a_registry_with_unfinished_pushes_counts_the_other_images(store: Store) -> None:
    push(store, SERVER, "old", b"1" * MEGABYTE, years=2)
    push(store, SERVER, "current", b"2" * MEGABYTE, years=1)
    unfinished = push(store, "registry.test/team/word", "1.0", b"3" * MEGABYTE, years=1)
    data = bundle_registry.home(store) / "data"
    (manifest,) = data.glob(f"**/{unfinished.removeprefix('sha256:')}/data")
    manifest.write_bytes(b"")
    tag = data / "docker/registry/v2/repositories" / SERVER / "_manifests/tags/empty/current/link"
    tag.parent.mkdir(parents=True)
    tag.touch()
    assert [image.tag for image in prune_built_images(store, EVERY_OLD_ONE, dry_run=True)] == ["old"]


def test_prune_after_a_killed_one_removes_the_layers_that_it_left(store: Store) -> None:
    push(store, SERVER, "old", b"1" * MEGABYTE, years=2)
    push(store, SERVER, "current", b"2" * MEGABYTE, years=1)
    before = size(store)
    manifests = bundle_registry.home(store) / "data/docker/registry/v2/repositories" / SERVER / "_manifests"
    old = (manifests / "tags/old/current/link").read_text().removeprefix("sha256:")
    shutil.rmtree(manifests / "tags/old")
    shutil.rmtree(manifests / "revisions/sha256" / old)
    assert prune_built_images(store, EVERY_OLD_ONE, dry_run=False) == []
    assert before - size(store) >= MEGABYTE


def test_prune_waits_for_pushes(store: Store) -> None:
    push(store, SERVER, "old", b"1" * MEGABYTE, years=2)
    push(store, SERVER, "current", b"2" * MEGABYTE, years=1)
    pruning = threading.Thread(target=prune_built_images, args=(store, EVERY_OLD_ONE), kwargs={"dry_run": False})
    with bundle_registry.writable(store):
        pruning.start()
        pruning.join(2)
        assert pruning.is_alive()
        assert len(list((bundle_registry.home(store) / "data").glob(f"**/{SERVER}/_manifests/tags/*"))) == 2
    pruning.join()
    assert len(list((bundle_registry.home(store) / "data").glob(f"**/{SERVER}/_manifests/tags/*"))) == 1
