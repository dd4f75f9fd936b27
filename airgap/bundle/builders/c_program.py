"""Static C programs."""

from __future__ import annotations

import os
from dataclasses import dataclass

from airgap.bundle.progress import Progress
from airgap.bundle.source_table import HERE, CSource, SourceTable
from airgap.bundle.store import Artifact, Store, sha256_of
from tools.bootstrap.process import capture, run_visible

COMPILER = "gcc"
FLAGS = ["-Os", "-Wall", "-Wextra", "-Werror", "-static", "-s", "-Wl,--build-id=none"]


@dataclass(frozen=True)
class CProgramBuild:
    """The build of an entry of [c]."""

    table: SourceTable
    entry: str
    source: CSource

    def artifact(self, store: Store) -> Artifact:
        """Return the artifact, keyed by the source, the flags and the compiler."""
        parts = {
            "entry": self.source.model_dump(),
            "file": sha256_of(HERE / self.source.source),
            "flags": FLAGS,
            "compiler": self._compiler(),
        }
        return store.artifact("binaries", self.entry, parts)

    def build(self, artifact: Artifact, progress: Progress) -> None:
        """Build the program into the cache.

        Raises:
            SetupError: the compilation failed.
        """
        artifact.log.unlink(missing_ok=True)
        progress.show("compiling")
        with artifact.building() as (partial, record):
            program = partial / self.entry
            command = [COMPILER, *FLAGS, "-o", str(program), self.source.source]
            environment = os.environ | {"SOURCE_DATE_EPOCH": str(self.table.epoch), "LC_ALL": "C"}
            run_visible(command, cwd=HERE, log=artifact.log, env=environment)
            record |= {
                "version": self.table.release(self.entry),
                "toolchain": self._compiler(),
                "libraries": {"libc6-dev": capture(["dpkg-query", "-W", "-f", "${Version}", "libc6-dev"])},
                "binaries": {self.entry: {"sha256": sha256_of(program), "size": program.stat().st_size}},
            }

    def _compiler(self) -> str:
        return " ".join(capture([COMPILER, flag]).strip() for flag in ("-dumpmachine", "-dumpfullversion"))
