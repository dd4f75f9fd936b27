"""Small images in the layout of OCI, and a bundle with one of them."""

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path

from airgap.bundle.builders.debian_image import LAYOUT, TAG
from airgap.bundle.index import INDEX
from airgap.bundle.store import Store

UPSTREAM = "registry.test/team/word:1.0"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def bundle(store: Store) -> str:
    """Write an image without a layer, and the bundle's index; return the image's digest."""
    layout = store.root / "images" / "word" / LAYOUT
    digest = image(layout)
    entry = {"name": "word", "layout": str(layout.relative_to(store.root)), "digest": digest}
    (store.root / INDEX).write_text(json.dumps({"images": {UPSTREAM: entry}}))
    return digest


def image(layout: Path, *layers: bytes) -> str:
    """Write an image into the folder `layout`, with layers of these bytes; return its digest."""
    blobs = layout / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def blob(kind: str, content: bytes) -> dict[str, object]:
        name = hashlib.sha256(content).hexdigest()
        (blobs / name).write_bytes(content)
        return {"mediaType": kind, "digest": f"sha256:{name}", "size": len(content)}

    rootfs = {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in layers]}
    settings = {"architecture": "amd64", "os": "linux", "config": {}, "rootfs": rootfs}
    config = blob("application/vnd.oci.image.config.v1+json", json.dumps(settings).encode())
    parts = [blob("application/vnd.oci.image.layer.v1.tar+gzip", gzip.compress(layer, 0, mtime=0)) for layer in layers]
    content = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": parts}
    manifest = blob(MANIFEST, json.dumps(content).encode())
    tagged = manifest | {"annotations": {"org.opencontainers.image.ref.name": TAG}}
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [tagged]}))
    return str(manifest["digest"])
