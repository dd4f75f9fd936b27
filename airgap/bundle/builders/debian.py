"""Root file systems of the building machine's own distribution, for images that hold more than one program."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path

from airgap.bundle.errors import BundleError
from airgap.bundle.process import output_of, run
from airgap.bundle.progress import Progress
from airgap.bundle.sources import DebianBase, Table
from airgap.bundle.store import Item, Store, sha256_of

ROOTFS = "rootfs.tar"
SOURCES = ("sources.list", "sources.list.d/debian.sources", "sources.list.d/ubuntu.sources")
"""Where apt keeps the distribution's own mirrors: the root is made from the same ones as this machine."""
WITHOUT = ("/usr/share/doc/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/man/*")
WITH = ("/usr/share/doc/*/copyright",)


@dataclass(frozen=True)
class DebianBuild:
    """The build of one entry of [debian]."""

    table: Table
    entry: str
    source: DebianBase

    def item(self, store: Store) -> Item:
        """Where it is kept: named after the distribution and the packages asked for, not their versions of the day."""
        parts = {
            "packages": self.source.packages,
            "suite": _suite(),
            "date": self.table.epoch,
            "without": [WITHOUT, WITH],
        }
        return store.item("bases", self.entry, parts)

    def build(self, item: Item, progress: Progress) -> None:
        """Build it into the cache, with a record of the packages and versions that are in it.

        Raises:
            BundleError: mmdebstrap failed.
        """
        item.log.unlink(missing_ok=True)
        with item.building() as (partial, record):
            rootfs = partial / ROOTFS
            command = ["mmdebstrap", "--mode=root", "--variant=essential", "--format=tar"]
            command += [f"--include={','.join(self.source.packages)}"]
            command += [f"--dpkgopt=path-exclude={path}" for path in WITHOUT]
            command += [f"--dpkgopt=path-include={path}" for path in WITH]
            # Nodes bring their own devices, and the logs tell of this build.
            command += ["--skip=output/dev", '--customize-hook=rm -rf "$1"/var/log/*']
            command += ["--customize-hook=" + f'dpkg-query --admindir="$1"/var/lib/dpkg -W > "{partial}/packages"']
            environment = os.environ | {"SOURCE_DATE_EPOCH": str(self.table.epoch), "LC_ALL": "C.UTF-8"}
            run(
                [*command, _suite(), rootfs, *_mirrors()],
                log=item.log,
                env=environment,
                each_line=lambda line: progress.show(line.removeprefix("I: ")[:60]),
            )
            listing = (partial / "packages").read_text().split("\n")
            record |= {
                "version": _suite(),
                "distribution": platform.freedesktop_os_release()["ID"],
                "architecture": output_of(["dpkg", "--print-architecture"]).strip(),
                "packages": dict(line.split("\t") for line in listing if line),
                "size": rootfs.stat().st_size,
                "sha256": sha256_of(rootfs),
            }


def _suite() -> str:
    try:
        return platform.freedesktop_os_release()["VERSION_CODENAME"]
    except (OSError, KeyError):
        raise BundleError("Images are built from Debian's or Ubuntu's packages, and this machine is neither.") from None


def _mirrors() -> list[Path]:
    """The files that name this machine's mirrors."""
    return [file for name in SOURCES if (file := Path("/etc/apt") / name).is_file()]
