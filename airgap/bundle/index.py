"""The index of a bundle: `bundle.json` tells other programs what is there; the bill of materials lies beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from airgap.bundle.artifacts import Items
from airgap.bundle.builders.image import LAYOUT
from airgap.bundle.errors import BundleError
from airgap.bundle.sbom import BillOfMaterials
from airgap.bundle.selection import OURS
from airgap.bundle.sources import Table
from airgap.bundle.store import Store

INDEX = "bundle.json"
SBOM = "bundle.cdx.json"


def write(table: Table, store: Store, items: Items, bill: BillOfMaterials, prefer_copies: bool) -> int:
    """Write both files for all that is there; returns how many components the bill of materials lists.

    The index's paths are relative to its folder:
    `{"format": 1, "architecture": "amd64", "sbom": "bundle.cdx.json",
    "binaries": {"kubernetes/kubeadm": {"version", "path", "sha256", "size"}},
    "images": {"registry.k8s.io/pause:3.10.1": {"name", "layout", "digest", "size", "origin": "built" or "copied"}}}`
    """
    binaries: dict[str, Any] = {}
    for entry, item in items.binaries_at.items():
        if item.there:
            record = item.record()
            bill.add_binaries(entry, item)
            for name, facts in record["binaries"].items():
                path = str((item.folder / name).relative_to(store.root))
                binaries[f"{entry}/{name}"] = {"version": record["version"], "path": path, **facts}
    images: dict[str, Any] = {}
    for name in items.copies:
        if image := items.image(name, prefer_copies):
            record = image.record()
            built_on = items.base_of(name) if record["origin"] == "built" else None
            bill.add_image(name, image, built_on)
            layout = str((image.folder / LAYOUT).relative_to(store.root))
            facts = {key: record[key] for key in ("digest", "size", "origin")}
            images[record["upstream"]] = {"name": name, "layout": layout, **facts}
    count = bill.write(store.root / SBOM)
    index = {
        "format": 1,
        "architecture": next(iter(items.copies.values())).architecture,
        "sbom": SBOM,
        "binaries": binaries,
        "images": images,
    }
    new = store.root / f".{INDEX}.new"
    new.write_text(json.dumps(index, indent=1) + "\n")
    new.replace(store.root / INDEX)
    return count


def lacking(table: Table, store: Store) -> list[str]:
    """Upstream names of images under [image] that the bundle in the cache does not have: it is of another version.

    What is ours does not count: it is left out where images are copied.

    Raises:
        BundleError: there is none yet.
    """
    there = read(store)["images"]
    names = map(table.upstream_name, table.image)
    return [name for name in names if name not in there and not name.startswith(OURS)]


def read(store: Store) -> dict[str, Any]:
    """The index of the bundle in the cache.

    Raises:
        BundleError: there is none yet.
    """
    file: Path = store.root / INDEX
    try:
        index: dict[str, Any] = json.loads(file.read_text())
    except FileNotFoundError:
        raise BundleError(f"There is no bundle at {store.root} yet: run `make bundle` first.") from None
    return index
