"""Images copied from their upstream registries, for machines that reach them."""

from __future__ import annotations

import urllib.error
import urllib.request
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from airgap.bundle.builders.debian_image import LAYOUT, TAG, describe_layout
from airgap.bundle.progress import Progress
from airgap.bundle.store import Artifact, Store
from tools.bootstrap.process import run_visible

PROBE_SECONDS = 5
ADDRESSES = {"docker.io": "registry-1.docker.io"}
"""Registry addresses of hosts that differ from the host in an image's name."""


@cache
def is_reachable(host: str) -> bool:
    """Return True if the registry of an image's host answers with the registry protocol."""
    try:
        with urllib.request.urlopen(f"https://{ADDRESSES.get(host, host)}/v2/", timeout=PROBE_SECONDS):
            return True
    except urllib.error.HTTPError as answer:
        # Most registries require a token. A proxy's refusal lacks this header.
        return answer.code == 401 and "www-authenticate" in answer.headers
    except OSError:
        return False


@dataclass(frozen=True)
class ImageCopy:
    """The copy of an upstream image, `host/repository:tag`, with that `digest` if it is known."""

    upstream: str
    architecture: str
    digest: str | None = None

    def artifact(self, store: Store) -> Artifact:
        """Return the artifact, keyed by the reference, the architecture and the digest."""
        name = self.upstream.replace("/", "_").replace(":", "_")
        key = {"upstream": self.upstream, "architecture": self.architecture}
        return store.artifact("images", name, key | ({"digest": self.digest} if self.digest else {}))

    def command(self, layout: Path, source: str = "") -> list[str]:
        """Return the command that copies the image into an OCI layout, from `source` (skopeo's syntax) or upstream."""
        command = ["skopeo", "--override-os", "linux", "--override-arch", self.architecture, "copy"]
        # skopeo takes either a tag or a digest, and verifies the latter.
        reference = f"{self.upstream.rpartition(':')[0]}@{self.digest}" if self.digest else self.upstream
        return [*command, "--retry-times", "3", source or f"docker://{reference}", f"oci:{layout}:{TAG}"]

    def fetch(self, artifact: Artifact, progress: Progress, source: str = "") -> None:
        """Copy the image into the cache.

        Raises:
            SetupError: the registry is unreachable or lacks the image.
        """
        artifact.log.unlink(missing_ok=True)
        progress.show("copying")
        with artifact.building() as (partial, record):
            run_visible(self.command(partial / LAYOUT, source), log=artifact.log)
            record |= {"upstream": self.upstream, "origin": "copied", **describe_layout(partial / LAYOUT)}
