"""Kubernetes' conformance tests: their program and the images of their pods, built as the bundle is.

Their cache is not that of the bundle: the index of the bundle lists what stacks need.
"""

from __future__ import annotations

import os
from pathlib import Path

from airgap.bundle.artifacts import Artifacts
from airgap.bundle.build import build_selection, check_requirements
from airgap.bundle.builders.go_program import GoToolchain
from airgap.bundle.index import write_index
from airgap.bundle.registry import bundle_registry
from airgap.bundle.registry.push import push
from airgap.bundle.sbom import BillOfMaterials
from airgap.bundle.selection import select_artifacts
from airgap.bundle.source_table import load_sources
from airgap.bundle.store import Store
from tools.bootstrap.paths import cache_directory

FOLDER = Path(__file__).parent
TABLE, MODULES = FOLDER / "sources.toml", FOLDER / "modules"
PROGRAMS = "kubernetes-e2e"
"""The entry of the programs."""


def build_conformance_tests() -> Path:
    """Build what is missing, add the images to the registries of the bundle, and return the folder of the programs.

    The folder has `e2e.test` and `ginkgo`.

    Raises:
        SetupError: a build failed, or there is no bundle.
    """
    table = load_sources(TABLE, MODULES)
    store = Store(cache_directory() / "conformance")
    selection = select_artifacts(table, "build", frozenset(), lambda _: False)
    check_requirements(table, selection)
    with store.locked():
        go = GoToolchain.find(store, os.cpu_count() or 1)
        artifacts = Artifacts.of(table, store, go, MODULES)
        build_selection(table, store, artifacts, selection)
        write_index(table, store, artifacts, BillOfMaterials(table, go), prefer_copies=False)
    with bundle_registry.writable(Store.default()) as target:
        push(store, target.host, target.authfile, target.certificates)
    return artifacts.binary_artifacts[PROGRAMS].folder
