"""Deletion of artifacts that no version of this program on this computer needs."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from airgap.bundle.artifacts import KINDS, Artifacts
from airgap.bundle.index import INDEX, read_index
from airgap.bundle.store import Store, StoreRule
from tools.bootstrap.console import log_message


def prune_artifacts(store: Store, artifacts: Artifacts, rule: StoreRule, *, dry_run: bool) -> list[Path]:
    """Remove artifacts of other versions that the rule does not keep; return and log their folders.

    Another checkout of this computer may use the store. Its artifacts are in the index that was written last, or used
    since, see `write_index`.
    """
    outdated = store.outdated({each.folder for each in artifacts.all()} | _indexed(store), KINDS, rule, time.time())
    sizes = [_size(folder) for folder in outdated]
    for folder, size in zip(outdated, sizes, strict=True):
        log_message(f"{folder.relative_to(store.root)}: {size / 1e6:.1f} MB")
        if not dry_run:
            shutil.rmtree(folder)
    verb = "would be removed" if dry_run else "removed"
    log_message(f"{len(outdated)} folders of other versions {verb}, {sum(sizes) / 1e6:.1f} MB.")
    return outdated


def _indexed(store: Store) -> set[Path]:
    """Return the folders of the artifacts in the index."""
    if not (store.root / INDEX).exists():
        return set()
    index = read_index(store)
    binaries = [each["path"] for each in index["binaries"].values()]
    paths = [*binaries, *(each["layout"] for each in index["images"].values())]
    return {store.root.joinpath(*Path(path).parts[:2]) for path in paths}


def _size(folder: Path) -> int:
    return sum(file.lstat().st_size for file in folder.rglob("*") if not file.is_dir())
