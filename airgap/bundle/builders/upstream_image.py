"""Images copied from their upstream registries, for machines that reach them."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from functools import cache
from http.client import HTTPException
from pathlib import Path

from airgap.bundle.builders.debian_image import LAYOUT, TAG, describe_layout
from airgap.bundle.progress import Progress
from airgap.bundle.store import Artifact, Store
from tools.bootstrap.console import SetupError
from tools.bootstrap.process import run_visible

PROBE_SECONDS = 5
PROBES, PAUSE_SECONDS = 3, 1
ADDRESSES = {"docker.io": "registry-1.docker.io"}
"""Registry addresses of hosts that differ from the host in an image's name."""


@cache
def is_reachable(host: str) -> bool:
    """Return True if the registry of an image's host answers with the registry protocol, False without a way to it.

    Raises:
        SetupError: a server answers that it is busy or broken, or is silent. It may be the registry.
    """
    problem = ""
    for attempt in range(PROBES):
        time.sleep(attempt * PAUSE_SECONDS)
        try:
            with urllib.request.urlopen(f"https://{ADDRESSES.get(host, host)}/v2/", timeout=PROBE_SECONDS):
                return True
        except urllib.error.HTTPError as answer:
            if answer.code != 429 and answer.code < 500:
                # Most registries require a token. A proxy's refusal lacks this header.
                return answer.code == 401 and "www-authenticate" in answer.headers
            problem = f"answers {answer.code}"
        except urllib.error.URLError as error:  # before the request was sent
            if not isinstance(error.reason, TimeoutError):
                return False
            problem = ""  # firewalls are silent, too
        except TimeoutError:
            problem = f"takes a request and does not answer within {PROBE_SECONDS} s"
        except (OSError, HTTPException):
            return False
    if problem:
        raise SetupError(
            f"the registry {host} {problem}, {PROBES} times: run the command again later, or with --images build, "
            "which sends no request to registries"
        )
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
