"""Update platform/addons/vendor from the Go modules of the add-ons: `python -m tools.ci.vendor_manifests`.

The versions are those of versions.toml. The modules come through the Go proxy that the environment names.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tools.bootstrap import paths, process

FOLDER = paths.PROJECT / "platform" / "addons" / "vendor"


def _concatenate(files: list[Path]) -> str:
    return "".join(file.read_text().removeprefix("---\n").rstrip() + "\n---\n" for file in files).removesuffix("---\n")


def _kustomize_metrics_server(files: list[Path]) -> str:
    """Return the objects of manifests/base with the labels that its kustomization.yaml adds to all of them."""
    kustomization, *bases = sorted(files, key=lambda file: file.name != "kustomization.yaml")
    labels = yaml.safe_load(kustomization.read_text())["commonLabels"]
    objects = [each for base in bases for each in yaml.safe_load_all(base.read_text())]
    for each in objects:
        _add_labels(each["metadata"], labels)
        if each["kind"] == "Deployment":
            each["spec"]["selector"] = {"matchLabels": dict(labels)}
            _add_labels(each["spec"]["template"].setdefault("metadata", {}), labels)
        if each["kind"] == "Service":
            each["spec"]["selector"] = dict(labels)
    return str(yaml.safe_dump_all(objects, sort_keys=False))


def _add_labels(metadata: dict[str, Any], labels: dict[str, str]) -> None:
    metadata["labels"] = metadata.get("labels", {}) | labels


@dataclass(frozen=True)
class Upstream:
    """The manifests of an add-on in its Go module."""

    module: str
    files: str
    render: Callable[[list[Path]], str] = _concatenate


UPSTREAM = {
    "flannel": Upstream("github.com/flannel-io/flannel", "Documentation/kube-flannel.yml"),
    "metallb": Upstream("go.universe.tf/metallb", "config/manifests/metallb-native.yaml"),
    "metrics-server": Upstream("sigs.k8s.io/metrics-server", "manifests/base/*.yaml", _kustomize_metrics_server),
}
HEADER = """\
# Source: Go module {module} {version}, {files}
# Version: {version}
# Licence: Apache License 2.0, see LICENSE in that module
# Do not edit: `python -m tools.ci.vendor_manifests` writes this file.
"""


def download_module(module: str, version: str) -> Path:
    """Download a Go module, verified against the checksum database, and return the folder of its source."""
    command = ["go", "mod", "download", "-json", f"{module}@{version}"]
    return Path(json.loads(process.capture(command, env=os.environ | {"GOFLAGS": "-mod=mod"}))["Dir"])


def main() -> None:
    """Write one file for each add-on."""
    for name, upstream in UPSTREAM.items():
        version = paths.pinned_versions()[name]["version"]
        files = sorted(download_module(upstream.module, version).glob(upstream.files))
        header = HEADER.format(module=upstream.module, version=version, files=upstream.files)
        (FOLDER / f"{name}.yaml").write_text(header + upstream.render(files))


if __name__ == "__main__":
    main()
