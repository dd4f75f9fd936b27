"""All items of the table and where they are kept on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from airgap.bundle.builders.c_program import CBuild
from airgap.bundle.builders.debian import DebianBuild
from airgap.bundle.builders.go_program import Go, GoBuild
from airgap.bundle.builders.image import ImageBuild
from airgap.bundle.builders.upstream_image import ImageCopy
from airgap.bundle.sources import MODULES, SCRATCH, Table
from airgap.bundle.store import Item, Store

KINDS = ("binaries", "bases", "images")


@dataclass(frozen=True)
class Items:
    """How each entry is built, and the item that this makes."""

    sources: dict[str, CBuild | GoBuild]
    bases: dict[str, DebianBuild]
    images: dict[str, ImageBuild]
    copies: dict[str, ImageCopy]
    """By the names of [image], and by the references of [upstream]."""
    binaries_at: dict[str, Item]
    bases_at: dict[str, Item]
    images_at: dict[str, Item]
    copies_at: dict[str, Item]

    @classmethod
    def of(cls, table: Table, store: Store, go: Go, modules: Path = MODULES) -> Items:
        """Work out every item's key, which reads the files that go into it and builds nothing."""
        sources: dict[str, CBuild | GoBuild] = {entry: CBuild(table, entry, c) for entry, c in table.c.items()}
        sources |= {entry: GoBuild(go, table, entry, source, modules) for entry, source in table.go.items()}
        bases = {entry: DebianBuild(table, entry, base) for entry, base in table.debian.items()}
        binaries_at = {entry: build.item(store) for entry, build in sources.items()}
        bases_at = {entry: base.item(store) for entry, base in bases.items()}
        images = {name: ImageBuild(table, name, image, binaries_at, bases_at) for name, image in table.image.items()}
        references = {name: table.upstream_name(name) for name in table.image}
        references |= {reference: reference for reference in table.upstream.images}
        copies = {name: ImageCopy(reference, go.architecture) for name, reference in references.items()}
        return cls(
            sources,
            bases,
            images,
            copies,
            binaries_at,
            bases_at,
            {name: image.item(store) for name, image in images.items()},
            {name: image.item(store) for name, image in copies.items()},
        )

    def image(self, name: str, prefer_copy: bool) -> Item | None:
        """The image that is there under a name of [image] or [upstream]; where both kinds are, the preferred one."""
        candidates = [self.copies_at[name], *([self.images_at[name]] if name in self.images_at else [])]
        if not prefer_copy:
            candidates.reverse()
        return next((item for item in candidates if item.there), None)

    def base_of(self, name: str) -> Item | None:
        """The root file system that an image of the table is built on, if any."""
        base = self.images[name].source.base
        return None if base == SCRATCH else self.bases_at[base]
