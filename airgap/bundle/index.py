"""The index of a bundle, `bundle.json`, which lists its binaries and images for other programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from airgap.bundle.artifacts import Artifacts
from airgap.bundle.builders.debian_image import LAYOUT
from airgap.bundle.sbom import BillOfMaterials
from airgap.bundle.selection import INTERNAL_HOST
from airgap.bundle.source_table import SourceTable
from airgap.bundle.store import Store
from tools.bootstrap.console import SetupError

INDEX = "bundle.json"
SBOM = "bundle.cdx.json"


def write_index(
    table: SourceTable, store: Store, artifacts: Artifacts, bill: BillOfMaterials, prefer_copies: bool
) -> int:
    """Write the index and the bill of materials; return the number of components in the latter.

    The index lists existing artifacts. Its paths are relative to its folder:
    `{"format": 1, "architecture": "amd64", "sbom": "bundle.cdx.json",
    "binaries": {"kubernetes/kubeadm": {"version", "path", "sha256", "size"}},
    "images": {"registry.k8s.io/pause:3.10.1": {"name", "layout", "digest", "size", "origin": "built" or "copied"}}}`
    """
    artifacts.mark_used()
    binaries: dict[str, Any] = {}
    for entry, artifact in artifacts.binary_artifacts.items():
        if artifact.exists:
            record = artifact.record()
            bill.add_binaries(entry, artifact)
            for name, facts in record["binaries"].items():
                path = str((artifact.folder / name).relative_to(store.root))
                binaries[f"{entry}/{name}"] = {"version": record["version"], "path": path, **facts}
    images: dict[str, Any] = {}
    for name in artifacts.image_copies:
        if image := artifacts.image(name, prefer_copies):
            record = image.record()
            built_on = artifacts.base_of(name) if record["origin"] == "built" else None
            bill.add_image(name, image, built_on)
            layout = str((image.folder / LAYOUT).relative_to(store.root))
            facts = {key: record[key] for key in ("digest", "size", "origin")}
            images[record["upstream"]] = {"name": name, "layout": layout, **facts}
    count = bill.write(store.root / SBOM)
    index = {
        "format": 1,
        "architecture": next(iter(artifacts.image_copies.values())).architecture,
        "sbom": SBOM,
        "binaries": binaries,
        "images": images,
    }
    new = store.root / f".{INDEX}.new"
    new.write_text(json.dumps(index, indent=1) + "\n")
    new.replace(store.root / INDEX)
    return count


def missing_images(table: SourceTable, store: Store) -> list[str]:
    """Return upstream names of [image] that the cached bundle lacks, as a bundle of another version does.

    Optional images are ignored. So are internal ones if the bundle has none of them, as a copied bundle.

    Raises:
        SetupError: there is no bundle yet.
    """
    bundled = read_index(store)["images"]
    names = [table.upstream_name(name) for name, image in table.image.items() if not image.optional]
    built = any(name.startswith(INTERNAL_HOST) for name in bundled)
    return [name for name in names if name not in bundled and (built or not name.startswith(INTERNAL_HOST))]


def read_index(store: Store) -> dict[str, Any]:
    """Return the index of the cached bundle.

    Raises:
        SetupError: there is no bundle yet.
    """
    file: Path = store.root / INDEX
    try:
        index: dict[str, Any] = json.loads(file.read_text())
    except FileNotFoundError:
        raise SetupError(f"No bundle found in {store.root}: run `make bundle` first.") from None
    return index
