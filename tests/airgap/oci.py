"""A bundle with one image without a layer."""

from __future__ import annotations

import hashlib
import json

from airgap.bundle.builders.debian_image import LAYOUT, TAG
from airgap.bundle.index import INDEX
from airgap.bundle.store import Store

UPSTREAM = "registry.test/team/word:1.0"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def bundle(store: Store) -> str:
    """Write the image's OCI layout and the bundle's index; return the image's digest."""
    layout = store.root / "images" / "word" / LAYOUT
    blobs = layout / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def blob(kind: str, content: object) -> dict[str, object]:
        text = json.dumps(content)
        name = hashlib.sha256(text.encode()).hexdigest()
        (blobs / name).write_text(text)
        return {"mediaType": kind, "digest": f"sha256:{name}", "size": len(text)}

    settings = {"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": []}}
    config = blob("application/vnd.oci.image.config.v1+json", settings)
    manifest = blob(MANIFEST, {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": []})
    tagged = manifest | {"annotations": {"org.opencontainers.image.ref.name": TAG}}
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [tagged]}))
    entry = {"name": "word", "layout": str(layout.relative_to(store.root)), "digest": manifest["digest"]}
    (store.root / INDEX).write_text(json.dumps({"images": {UPSTREAM: entry}}))
    return str(manifest["digest"])
