"""What is built here and what is copied: by what was asked for, and by what can be reached."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from airgap.bundle.errors import BundleError
from airgap.bundle.sources import SCRATCH, FileSource, Table

Images = Literal["auto", "build", "copy", "none"]
"""Where images come from: upstream if it can be reached, always from source, always from upstream; or no images."""


OURS = "mlplatform.internal/"
"""The host that images have which are nowhere upstream."""


@dataclass(frozen=True)
class Choice:
    """Names of entries, in the order of the table; `copied` and `left_out` also hold upstream references."""

    sources: list[str]
    bases: list[str]
    built: list[str]
    copied: list[str]
    left_out: list[str]
    """What is only upstream, which cannot be reached from here."""


def choose(table: Table, images: Images, only: frozenset[str], reachable: Callable[[str], bool]) -> Choice:
    """Choose, for the entries in `only` or for all where it is empty; `reachable` tells of an image's host.

    Raises:
        BundleError: there is no such entry.
    """
    known = [*table.c, *table.go, *table.debian, *table.image]
    if unknown := only.difference(known):
        raise BundleError(f"The table has no entry {', '.join(sorted(unknown))}. It has: {', '.join(known)}.")

    def is_copied(upstream: str) -> bool:
        return images == "copy" or (images == "auto" and reachable(upstream.partition("/")[0]))

    def is_ours(name: str) -> bool:
        return table.upstream_name(name).startswith(OURS)

    wanted = [name for name in table.image if images != "none" and (not only or name in only)]
    copied = [name for name in wanted if not is_ours(name) and is_copied(table.upstream_name(name))]
    # What is ours brings nodes what is in packages upstream: it is built where nothing comes from there.
    built = [name for name in wanted if name not in copied and (name in only or not (is_ours(name) and copied))]
    only_upstream = [] if only or images == "none" else table.upstream.images
    extra = [upstream for upstream in only_upstream if is_copied(upstream)]

    used = {FileSource.parse(text).entry for name in built for text in table.image[name].files.values()} | only
    # Who can pull images gets the rest from upstream too: packages for nodes, the plugin of Pulumi.
    everything = not only and not copied
    based_on = {table.image[name].base for name in built} - {SCRATCH}
    return Choice(
        sources=[entry for entry in (*table.c, *table.go) if everything or entry in used],
        bases=[base for base in table.debian if base in only | based_on],
        built=built,
        copied=[*copied, *extra],
        left_out=[upstream for upstream in only_upstream if upstream not in extra],
    )
