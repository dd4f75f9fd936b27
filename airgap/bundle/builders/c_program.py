"""Static C programs."""

from __future__ import annotations

import os
from dataclasses import dataclass

from airgap.bundle.process import output_of, run
from airgap.bundle.progress import Progress
from airgap.bundle.sources import HERE, CSource, Table
from airgap.bundle.store import Item, Store, sha256_of

COMPILER = "gcc"
FLAGS = ["-Os", "-Wall", "-Wextra", "-Werror", "-static", "-s", "-Wl,--build-id=none"]


@dataclass(frozen=True)
class CBuild:
    """The build of one entry of [c]."""

    table: Table
    entry: str
    source: CSource

    def item(self, store: Store) -> Item:
        """Where it is kept: named after its source, the flags, the compiler and its C library."""
        parts = {
            "entry": self.source.model_dump(),
            "file": sha256_of(HERE / self.source.source),
            "flags": FLAGS,
            "compiler": self._compiler(),
        }
        return store.item("binaries", self.entry, parts)

    def build(self, item: Item, progress: Progress) -> None:
        """Build it into the cache.

        Raises:
            BundleError: it did not compile.
        """
        item.log.unlink(missing_ok=True)
        progress.show("compiling")
        with item.building() as (partial, record):
            program = partial / self.entry
            command = [COMPILER, *FLAGS, "-o", str(program), self.source.source]
            environment = os.environ | {"SOURCE_DATE_EPOCH": str(self.table.epoch), "LC_ALL": "C"}
            run(command, cwd=HERE, log=item.log, env=environment)
            record |= {
                "version": self.table.release(self.entry),
                "toolchain": self._compiler(),
                "libraries": {"libc6-dev": output_of(["dpkg-query", "-W", "-f", "${Version}", "libc6-dev"])},
                "binaries": {self.entry: {"sha256": sha256_of(program), "size": program.stat().st_size}},
            }

    def _compiler(self) -> str:
        return " ".join(output_of([COMPILER, flag]).strip() for flag in ("-dumpmachine", "-dumpfullversion"))
