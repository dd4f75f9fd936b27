"""Root file systems of the build machine's distribution, for images with more than one program."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path

from airgap.bundle.progress import Progress
from airgap.bundle.source_table import DebianBase, SourceTable
from airgap.bundle.store import Artifact, Store, sha256_of
from tools.bootstrap.console import SetupError
from tools.bootstrap.process import capture, run_visible

ROOTFS = "rootfs.tar"
SOURCES = ("sources.list", "sources.list.d/debian.sources", "sources.list.d/ubuntu.sources")
"""The files under /etc/apt that name the distribution's mirrors; the root file system uses the same mirrors."""
WITHOUT = ("/usr/share/doc/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/man/*")
WITH = ("/usr/share/doc/*/copyright",)


@dataclass(frozen=True)
class DebianBuild:
    """The build of an entry of [debian]."""

    table: SourceTable
    entry: str
    source: DebianBase

    def artifact(self, store: Store) -> Artifact:
        """Return the artifact, keyed by the distribution and the packages, not by the packages' current versions."""
        parts = {
            "packages": self.source.packages,
            "suite": _suite(),
            "date": self.table.epoch,
            "without": [WITHOUT, WITH],
        }
        return store.artifact("bases", self.entry, parts)

    def build(self, artifact: Artifact, progress: Progress) -> None:
        """Build the root file system into the cache, with a record of its packages and versions.

        Raises:
            SetupError: mmdebstrap failed.
        """
        artifact.log.unlink(missing_ok=True)
        with artifact.building() as (partial, record):
            rootfs = partial / ROOTFS
            command = ["mmdebstrap", "--mode=root", "--variant=essential", "--format=tar"]
            command += [f"--include={','.join(self.source.packages)}"]
            command += [f"--dpkgopt=path-exclude={path}" for path in WITHOUT]
            command += [f"--dpkgopt=path-include={path}" for path in WITH]
            # Nodes have their own devices, and the logs are of this build -> leave both out.
            command += ["--skip=output/dev", '--customize-hook=rm -rf "$1"/var/log/*']
            command += ["--customize-hook=" + f'dpkg-query --admindir="$1"/var/lib/dpkg -W > "{partial}/packages"']
            environment = os.environ | {"SOURCE_DATE_EPOCH": str(self.table.epoch), "LC_ALL": "C.UTF-8"}
            run_visible(
                [*command, _suite(), rootfs, *_mirrors()],
                log=artifact.log,
                env=environment,
                on_line=lambda line: progress.show(line.removeprefix("I: ")[:60]),
            )
            listing = (partial / "packages").read_text().split("\n")
            record |= {
                "version": _suite(),
                "distribution": platform.freedesktop_os_release()["ID"],
                "architecture": capture(["dpkg", "--print-architecture"]).strip(),
                "packages": dict(line.split("\t") for line in listing if line),
                "size": rootfs.stat().st_size,
                "sha256": sha256_of(rootfs),
            }


def _suite() -> str:
    try:
        return platform.freedesktop_os_release()["VERSION_CODENAME"]
    except (OSError, KeyError):
        raise SetupError("Images are built from packages of Debian or Ubuntu, and this machine runs neither.") from None


def _mirrors() -> list[Path]:
    """Return the files that name this machine's mirrors."""
    return [file for name in SOURCES if (file := Path("/etc/apt") / name).is_file()]
