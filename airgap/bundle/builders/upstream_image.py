"""Images copied from where their makers publish them, for machines that can reach that."""

from __future__ import annotations

import urllib.error
import urllib.request
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from airgap.bundle.builders.image import LAYOUT, TAG, described
from airgap.bundle.process import run
from airgap.bundle.progress import Progress
from airgap.bundle.store import Item, Store

PROBE_SECONDS = 5
ADDRESSES = {"docker.io": "registry-1.docker.io"}
"""Where an image's host is not the one that serves it."""


@cache
def reachable(host: str) -> bool:
    """Whether the registry of an image's host answers from here as a registry does."""
    try:
        with urllib.request.urlopen(f"https://{ADDRESSES.get(host, host)}/v2/", timeout=PROBE_SECONDS):
            return True
    except urllib.error.HTTPError as answer:
        # Most ask for a token first; what stands between (a proxy's refusal) does not speak of the protocol's version.
        return answer.code == 401 and "www-authenticate" in answer.headers
    except OSError:
        return False


@dataclass(frozen=True)
class ImageCopy:
    """The copy of one upstream image, `host/repository:tag`."""

    upstream: str
    architecture: str

    def item(self, store: Store) -> Item:
        """Where it is kept: named after its reference."""
        name = self.upstream.replace("/", "_").replace(":", "_")
        return store.item("images", name, {"upstream": self.upstream, "architecture": self.architecture})

    def command(self, layout: Path, source: str = "") -> list[str]:
        """The command that copies it into an OCI layout: from `source`, as skopeo names one, or from upstream."""
        command = ["skopeo", "--override-os", "linux", "--override-arch", self.architecture, "copy"]
        return [*command, "--retry-times", "3", source or f"docker://{self.upstream}", f"oci:{layout}:{TAG}"]

    def fetch(self, item: Item, progress: Progress, source: str = "") -> None:
        """Copy it into the cache.

        Raises:
            BundleError: the registry cannot be reached, or has no such image.
        """
        item.log.unlink(missing_ok=True)
        progress.show("copying")
        with item.building() as (partial, record):
            run(self.command(partial / LAYOUT, source), log=item.log)
            record |= {"upstream": self.upstream, "origin": "copied", **described(partial / LAYOUT)}
