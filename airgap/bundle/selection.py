"""The selection of entries to build and images to copy, by arguments and by reachable registries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from airgap.bundle.source_table import SCRATCH, ImageFile, SourceTable
from tools.bootstrap.console import SetupError

Images = Literal["auto", "build", "copy", "none"]
"""The origin of images: upstream if it is reachable, always source, always upstream, or no images."""


INTERNAL_HOST = "mlplatform.internal/"
"""The registry host of images that exist only in this project."""


@dataclass(frozen=True)
class Selection:
    """Names of entries in the order of the table; `copied` and `unavailable` also hold upstream references."""

    sources: list[str]
    bases: list[str]
    built: list[str]
    copied: list[str]
    unavailable: list[str]
    """Images that are only upstream, on an unreachable registry."""


def select_artifacts(
    table: SourceTable, images: Images, only: frozenset[str], is_reachable: Callable[[str], bool]
) -> Selection:
    """Select what to build and what to copy.

    Args:
        table: the source table.
        images: the origin of images.
        only: the names of entries; all entries if empty.
        is_reachable: returns True if the registry of a host answers.

    Raises:
        SetupError: an entry does not exist.
    """
    known = [*table.programs, *table.debian, *table.image]
    if unknown := only.difference(known):
        raise SetupError(f"airgap/sources.toml has no entry {', '.join(sorted(unknown))}. Entries: {', '.join(known)}.")

    def is_copied(upstream: str) -> bool:
        return images == "copy" or (images == "auto" and is_reachable(upstream.partition("/")[0]))

    def is_internal(name: str) -> bool:
        return table.upstream_name(name).startswith(INTERNAL_HOST)

    wanted = [name for name in table.image if images != "none" and (not only or name in only)]
    copied = [name for name in wanted if not is_internal(name) and is_copied(table.upstream_name(name))]
    # Internal images replace upstream's packages on nodes -> build them only where no image is copied.
    built = [name for name in wanted if name not in copied and (name in only or not (is_internal(name) and copied))]
    only_upstream = [] if only or images == "none" else table.upstream.images
    extra = [upstream for upstream in only_upstream if is_copied(upstream)]

    used = {ImageFile.parse(text).entry for name in built for text in table.image[name].files.values()} | only
    # A machine that pulls images also downloads packages and plugins from upstream -> build nothing else.
    everything = not only and not copied
    based_on = {table.image[name].base for name in built} - {SCRATCH}
    return Selection(
        sources=[entry for entry in table.programs if everything or entry in used],
        bases=[base for base in table.debian if base in only | based_on],
        built=built,
        copied=[*copied, *extra],
        unavailable=[upstream for upstream in only_upstream if upstream not in extra],
    )
