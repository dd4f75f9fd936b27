"""Filling a registry: each image under the host of its upstream as the first part of its path.

`registry.k8s.io/pause:3.10.1` becomes `<registry>/registry.k8s.io/pause:3.10.1`, so that images of two upstream hosts
cannot collide. Nodes find it by a mirror with `override_path`, see docs/air-gap.md.
"""

from __future__ import annotations

from pathlib import Path

from airgap.bundle import index, preflight
from airgap.bundle.builders.image import TAG
from airgap.bundle.errors import BundleError
from airgap.bundle.process import output_of, run
from airgap.bundle.store import Store
from tools.bootstrap.console import log_message


def mirror_name(registry: str, upstream: str) -> str:
    """What an upstream reference is called in a registry, `host[:port][/project]`."""
    return f"{registry}/{upstream}"


def push(store: Store, registry: str, authfile: Path, certificates: Path | None) -> None:
    """Copy every image of the bundle that the registry does not have, with its digest unchanged.

    Raises:
        BundleError: there is no bundle, or the registry refused; names the image.
    """
    preflight.require(preflight.MOVES_IMAGES)
    log = store.root / "logs" / "push.log"
    log.unlink(missing_ok=True)
    # Credentials stand in a file, as arguments can be read by everybody on this machine.
    access = ["--authfile", str(authfile)]
    trust = str(certificates) if certificates else None
    images = index.read(store)["images"]
    pushed = 0
    for upstream, image in images.items():
        target = f"docker://{mirror_name(registry, upstream)}"
        if _digest(target, [*access, *(["--cert-dir", trust] if trust else [])]) == image["digest"]:
            continue
        source = f"oci:{store.root / image['layout']}:{TAG}"
        options = [*access, *(["--dest-cert-dir", trust] if trust else []), "--preserve-digests"]
        try:
            run(["skopeo", "copy", *options, source, target], log=log)
        except BundleError as error:
            raise BundleError(f"{upstream}: {error}") from None
        pushed += 1
    log_message(f"The registry has {len(images)} images, {pushed} of them new.")


def _digest(target: str, options: list[str]) -> str | None:
    try:
        return output_of(["skopeo", "inspect", "--format", "{{.Digest}}", *options, target]).strip()
    except BundleError:
        return None
