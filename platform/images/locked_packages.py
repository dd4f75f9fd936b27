"""The Python packages of an image: what its requirements need of uv.lock, installed by uv without any Python.

uv runs on this computer, with this computer's index, proxy and certificates, of which nothing gets into the image.
"""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
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

PYTHON = "3.11"
"""Of the base image that the Dockerfiles name."""
MACHINE = {"AMD64": "x86_64", "arm64": "aarch64"}.get(platform.machine(), platform.machine())
"""Images are for machines like this one."""
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
NEVER_RUN = ("tests", "onnx/backend/test", "onnxruntime/transformers", "pyarrow/include", "pyarrow/src", "bin")
"""Folders of packages that only their authors and compilers use: a third of a gigabyte of data and checks."""


@dataclass(frozen=True, order=True)
class LockedPackage:
    """One package at the version of uv.lock; `hashes` are those of all its files."""

    name: str
    version: str
    hashes: tuple[str, ...]

    @property
    def requirement(self) -> str:
        """As pip and uv take it, to be checked against the hashes."""
        return " ".join([f"{self.name}=={self.version}", *(f"--hash={each}" for each in self.hashes)])


def locked_packages(requirements: Path, lock: Path = PROJECT / "uv.lock") -> list[LockedPackage]:
    """The packages that a file of requirements (names, without versions) takes on Linux, with all beneath them.

    Raises:
        UserError: uv.lock has no such package.
    """
    packages = {each["name"]: each for each in tomllib.loads(lock.read_text())["package"] if _is_for_linux(each)}
    lines = (line.partition("#")[0].strip() for line in requirements.read_text().splitlines())
    wanted = [Requirement(line) for line in lines if line]
    ahead = [(_normal(each.name), extra) for each in wanted for extra in ("", *each.extras)]
    found: set[tuple[str, str]] = set()
    while ahead:
        name, extra = one = ahead.pop()
        if one in found:
            continue
        if name not in packages:
            raise UserError(f"{requirements.parent.name}/{requirements.name}: uv.lock has no package {name}")
        if extra and extra not in packages[name].get("optional-dependencies", {}):
            raise UserError(f"{requirements.parent.name}/{requirements.name}: uv.lock has {name} without {extra}")
        found.add(one)
        ahead += _dependencies(packages[name], extra)
    names = sorted({name for name, _ in found})
    return [LockedPackage(name, packages[name]["version"], tuple(_hashes(packages[name]))) for name in names]


def install(pins: Sequence[LockedPackage], folder: Path) -> None:
    """Make `folder` hold these packages, without what never runs.

    Raises:
        UserError: uv could not install them, with what it said.
    """
    folder.mkdir(parents=True)
    listed = folder.with_suffix(".txt")
    listed.write_text("".join(f"{pin.requirement}\n" for pin in pins))
    command: list[str | Path] = [
        *(_uv(), "pip", "install", "--target", folder, "--requirement", listed, "--no-deps", "--require-hashes"),
        *("--python-version", PYTHON, "--python-platform", f"{MACHINE}-manylinux_2_28"),
    ]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"uv could not install the packages of an image:\n{done.stderr.strip()[-2000:]}")
    for name in NEVER_RUN:
        for unused in [each for each in folder.rglob(name) if each.is_dir()]:
            shutil.rmtree(unused, ignore_errors=True)  # one may lie in another


def bill_of_materials(image: str, pins: Sequence[LockedPackage]) -> str:
    """CycloneDX 1.6 of an image's packages, the same text for the same packages."""
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.output import make_outputter
    from cyclonedx.schema import OutputFormat, SchemaVersion
    from packageurl import PackageURL

    bom = Bom()
    # A time and a random number would make another text each time.
    bom.metadata.timestamp = datetime.fromtimestamp(0, UTC)
    bom.serial_number = uuid5(NAMESPACE_URL, " ".join([image, *(pin.requirement for pin in pins)]))
    bom.metadata.component = Component(name=image, type=ComponentType.CONTAINER, bom_ref=image)
    for pin in pins:
        url = PackageURL("pypi", None, pin.name, pin.version)
        bom.components.add(Component(name=pin.name, version=pin.version, purl=url, bom_ref=str(url)))
    bom.register_dependency(bom.metadata.component, bom.components)
    return make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string(indent=1)


def _is_for_linux(package: dict[str, Any]) -> bool:
    """uv.lock may have several versions of a package, for one Python or system each."""
    markers = package.get("resolution-markers", [])
    return not markers or any(Marker(marker).evaluate(LINUX) for marker in markers)


def _dependencies(package: dict[str, Any], extra: str) -> Iterator[tuple[str, str]]:
    listed = package["optional-dependencies"][extra] if extra else package.get("dependencies", [])
    for each in listed:
        if "marker" not in each or Marker(each["marker"]).evaluate(LINUX):
            yield each["name"], ""
            for further in each.get("extra", []):
                yield each["name"], further


def _hashes(package: dict[str, Any]) -> Iterator[str]:
    for file in [*package.get("wheels", []), *([package["sdist"]] if "sdist" in package else [])]:
        yield file["hash"]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _uv() -> str:
    own = cache_directory() / "tools" / f"uv-{VERSIONS['uv']['version']}" / "bin" / "uv"
    found = str(own) if own.is_file() else shutil.which("uv")
    if found is None:
        raise UserError("uv is not installed: `make up` installs it, as does `make tools`")
    return found
