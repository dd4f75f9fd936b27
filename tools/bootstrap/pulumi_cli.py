"""The Pulumi CLI: the one on PATH, else the official download, else a build of its Go module."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tarfile
import tempfile
from pathlib import Path, PurePosixPath
from typing import IO

from tools.bootstrap import paths
from tools.bootstrap.atomic_install import atomic_install
from tools.bootstrap.console import Unavailable, log_message, step
from tools.bootstrap.download import download
from tools.bootstrap.environment import parse_version, program_version
from tools.bootstrap.go_toolchain import toolchain
from tools.bootstrap.process import run_visible

SOURCE = paths.PROJECT / "tools" / "bootstrap" / "pulumi"
HOST_SOURCE = paths.PROJECT / "airgap" / "stand_ins" / "language_host"
COMMAND = "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi"
VERSION_VARIABLE = "github.com/pulumi/pulumi/sdk/v3/go/common/version.Version"
LANGUAGE_PROGRAMS = (
    "pulumi-language-python",
    "pulumi-resource-pulumi-python",
)
"""Programs that the download has and a build lacks: the Python language host and the provider of dynamic resources."""
PROVIDERS = (
    paths.PROJECT / "airgap" / "stand_ins" / "command" / "pulumi-resource-command",
    paths.PROJECT / "airgap" / "stand_ins" / "azure_native" / "pulumi-resource-azure-native",
)
"""Stand-ins for providers that only the download site has. The second only previews."""
LANGUAGE_HOST = LANGUAGE_PROGRAMS[0]
ARCHITECTURES = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64"}
"""Processor architectures, by `uname`'s name, with their name in the download's file name."""


def folder() -> Path | None:
    """Return the folder of the `pulumi` to use, None where it is not installed yet."""
    return _on_path() or next((path for path in (_downloaded(), _linked()) if path.exists()), None)


def install_pulumi_cli() -> None:
    """Install a CLI unless one is installed."""
    if _on_path() is None and not _downloaded().exists() and not _built().exists():
        if unusable := shutil.which("pulumi"):
            minimum = paths.pinned_versions()["pulumi"]["minimum"]
            log_message(f"{unusable} is not used: it is older than {minimum} or lacks {LANGUAGE_HOST}.")
        try:
            _download()
        except Unavailable:
            _build()
    if _built().exists():
        _link_stand_ins(_linked())


def _downloaded() -> Path:
    return paths.tool_directory("pulumi", paths.pinned_versions()["pulumi"]["download"]["version"]) / "bin"


def _built() -> Path:
    return paths.tool_directory("pulumi", paths.pinned_versions()["pulumi"]["built"]) / "bin"


def _linked() -> Path:
    """Return the folder of this checkout with links to the built CLI and to what a download has beside it.

    Another checkout has another folder, because its stand-ins may differ.
    """
    return paths.tool_directory("pulumi-of-checkout", hashlib.sha256(bytes(paths.PROJECT)).hexdigest()[:16]) / "bin"


def _on_path() -> Path | None:
    """Return the folder of the user's CLI if it is new enough and has its Python language host."""
    program = shutil.which("pulumi")
    if program is None or Path(program).is_relative_to(paths.cache_directory()):
        return None
    if _version(program) < parse_version(paths.pinned_versions()["pulumi"]["minimum"]):
        return None
    beside = Path(program).resolve().with_name(LANGUAGE_HOST)
    return Path(program).parent if beside.exists() or shutil.which(LANGUAGE_HOST) else None


def _version(program: str | Path) -> tuple[int, ...]:
    return program_version([program, "version"], os.environ | {"PULUMI_SKIP_UPDATE_CHECK": "true"})


def _platform() -> str:
    """Return this computer's system and architecture in the download's notation, such as linux-x64."""
    system = os.uname()
    return f"{system.sysname.lower()}-{ARCHITECTURES.get(system.machine, system.machine)}"


def _download() -> None:
    pinned = paths.pinned_versions()["pulumi"]["download"]
    with step(f"Downloading the Pulumi CLI {pinned['version']}"):
        digest = pinned["sha256"].get(_platform())
        if digest is None:
            raise Unavailable(f"no download exists for {_platform()}")
        url = pinned["url"].format(version=pinned["version"], platform=_platform())
        with atomic_install(_downloaded().parent) as partial, tempfile.TemporaryFile() as archive:
            download(url, digest, archive)
            _unpack(archive, partial / "bin")
            _check(partial / "bin")


def _unpack(archive: IO[bytes], target: Path) -> None:
    """Extract all files of the archive into one folder; its folders have one level."""
    target.mkdir()
    with tarfile.open(fileobj=archive, mode="r:gz") as content:
        for member in content:
            if (stream := content.extractfile(member)) is not None:
                file = target / PurePosixPath(member.name).name
                with file.open("wb") as copy:
                    shutil.copyfileobj(stream, copy)
                file.chmod(0o755)


def _build() -> None:
    version = paths.pinned_versions()["pulumi"]["built"]
    cache = paths.cache_directory()
    with tempfile.TemporaryDirectory(dir=cache) as scratch, atomic_install(_built().parent) as partial:
        go, environment = toolchain(SOURCE, Path(scratch))
        with step(f"Building the Pulumi CLI {version} from its Go module, which takes some minutes"):
            run_visible(
                [
                    *(go, "build", "-trimpath", "-ldflags", f"-s -w -X {VERSION_VARIABLE}=v{version}"),
                    *("-o", partial / "bin" / "pulumi", COMMAND),
                ],
                log=cache / "logs" / "pulumi-build.log",
                cwd=SOURCE,
                env=environment,
            )
            _check(partial / "bin")


def _check(target: Path) -> None:
    if not _version(target / "pulumi"):
        raise Unavailable("it does not run on this computer")


def _link_stand_ins(target: Path) -> None:
    """Link the CLI and the programs of this checkout that a download has beside it."""
    target.mkdir(parents=True, exist_ok=True)
    cli = target / "pulumi"
    if not cli.exists() or not cli.samefile(_built() / "pulumi"):
        cli.unlink(missing_ok=True)
        # The CLI looks for programs beside its real path, which a symbolic link does not change.
        cli.hardlink_to(_built() / "pulumi")
    for program in (*(HOST_SOURCE / name for name in LANGUAGE_PROGRAMS), *PROVIDERS):
        _link(target / program.name, program)
    _link_bundled_providers(target)


def _link_bundled_providers(target: Path) -> None:
    """Link the providers that `make bundle` has built; the official CLI downloads its own."""
    index = paths.cache_directory() / "bundle" / "bundle.json"
    if not index.is_file():
        return
    for name, binary in json.loads(index.read_text())["binaries"].items():
        if (program := name.rpartition("/")[2]).startswith("pulumi-resource-"):
            _link(target / program, index.parent / binary["path"])


def _link(link: Path, program: Path) -> None:
    if not link.is_symlink() or link.readlink() != program:
        new = link.with_name(f".{link.name}.new")
        new.unlink(missing_ok=True)
        new.symlink_to(program)
        new.replace(link)
