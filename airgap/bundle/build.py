"""Making a bundle: what is missing is built or copied, then the index and the bill of materials are written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from airgap.bundle import preflight
from airgap.bundle.artifacts import KINDS, Items
from airgap.bundle.builders.image import Buildah
from airgap.bundle.errors import BundleError
from airgap.bundle.progress import Progress, size
from airgap.bundle.selection import Choice
from airgap.bundle.sources import Table
from airgap.bundle.store import Item, Store
from tools.bootstrap.console import BootstrapError, log_message


@dataclass(frozen=True)
class Step:
    """One item and what makes it."""

    entry: str
    item: Item
    make: Callable[[Progress], None]


def prepare(table: Table, choice: Choice) -> None:
    """See to it that the programs are there that the chosen builds take."""
    go = [table.go[entry] for entry in choice.sources if entry in table.go]
    if choice.sources:
        preflight.require(preflight.BUILDS_C, [library for source in go for library in source.libraries])
    if choice.built or choice.bases:
        preflight.require_root("Building images")
        preflight.require(preflight.BUILDS_IMAGES)
    if choice.copied:
        preflight.require(preflight.MOVES_IMAGES)


def make(table: Table, store: Store, items: Items, choice: Choice) -> None:
    """Build and copy what is missing of the choice, one item after the other.

    Raises:
        BundleError: an item could not be made; names its entry. What was made before stays.
    """
    with Buildah.temporary(store, table.epoch) as buildah:
        steps = list(_steps(items, choice, buildah))
        for number, step in enumerate(steps, 1):
            progress = Progress(f"[{number}/{len(steps)}] {step.item.kind} {step.entry}")
            if step.item.there:
                progress.done(f"there, {size(_size(step.item))}")
                continue
            try:
                step.make(progress)
            except (BundleError, BootstrapError) as error:
                raise BundleError(f"{step.entry}: {error}") from None
            progress.done(f"made, {size(_size(step.item))}")
    for upstream in choice.left_out:
        log_message(f"Left out: {upstream}, which is only upstream, and that cannot be reached from here.")


def prune(store: Store, items: Items) -> int:
    """Remove what other versions of the table left; returns how many folders."""
    tables = (items.binaries_at, items.bases_at, items.images_at, items.copies_at)
    kept = {item.folder for table in tables for item in table.values()}
    return len(store.prune(kept, KINDS))


def _steps(items: Items, choice: Choice, buildah: Buildah) -> Iterator[Step]:
    for entry in choice.sources:
        item = items.binaries_at[entry]
        yield Step(entry, item, partial(items.sources[entry].build, item))
    for entry in choice.bases:
        item = items.bases_at[entry]
        yield Step(entry, item, partial(items.bases[entry].build, item))
    for entry in choice.built:
        item = items.images_at[entry]
        yield Step(entry, item, partial(items.images[entry].build, item, buildah))
    for entry in choice.copied:
        item = items.copies_at[entry]
        yield Step(entry, item, partial(items.copies[entry].fetch, item))


def _size(item: Item) -> int:
    """The size in bytes of what an item is for."""
    record = item.record()
    if "binaries" in record:
        return sum(binary["size"] for binary in record["binaries"].values())
    return int(record["size"])
