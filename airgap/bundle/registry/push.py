"""Push of the bundle's images to a registry.

`registry.k8s.io/pause:3.10.1` becomes `<registry>/registry.k8s.io/pause:3.10.1`, so that images of two upstream hosts
cannot collide. Nodes resolve the names by a mirror with `override_path`, see docs/air-gap.md.
"""

from __future__ import annotations

from pathlib import Path

from airgap.bundle import build_requirements
from airgap.bundle.build_requirements import require_programs
from airgap.bundle.builders.debian_image import TAG
from airgap.bundle.index import read_index
from airgap.bundle.store import Store
from tools.bootstrap.console import SetupError, log_message
from tools.bootstrap.process import capture, run_visible


def push(store: Store, registry: str, authfile: Path, certificates: Path | None) -> None:
    """Copy every image that the registry lacks, with an unchanged digest.

    Args:
        store: the cache of the bundle.
        registry: the target, `host[:port][/project]`.
        authfile: the credentials, in the format of image tools.
        certificates: a folder with the registry's CA, or None for a public CA.

    Raises:
        SetupError: there is no bundle, or the registry refused an image; names the image.
    """
    require_programs(build_requirements.MOVES_IMAGES)
    log = store.root / "logs" / "push.log"
    log.unlink(missing_ok=True)
    # Every user of this machine can read arguments -> pass credentials in a file.
    credentials = ["--authfile", str(authfile)]
    certificate_folder = str(certificates) if certificates else None
    images = read_index(store)["images"]
    pushed = 0
    for upstream, image in images.items():
        target = f"docker://{registry}/{upstream}"
        if (
            _digest(target, [*credentials, *(["--cert-dir", certificate_folder] if certificate_folder else [])])
            == image["digest"]
        ):
            continue
        source = f"oci:{store.root / image['layout']}:{TAG}"
        options = [
            *credentials,
            *(["--dest-cert-dir", certificate_folder] if certificate_folder else []),
            "--preserve-digests",
        ]
        try:
            run_visible(["skopeo", "copy", *options, source, target], log=log)
        except SetupError as error:
            raise SetupError(f"{upstream}: {error}") from None
        pushed += 1
    log_message(f"The registry has {len(images)} images, {pushed} of them new.")


def _digest(target: str, options: list[str]) -> str | None:
    try:
        return capture(["skopeo", "inspect", "--format", "{{.Digest}}", *options, target]).strip()
    except SetupError:
        return None
