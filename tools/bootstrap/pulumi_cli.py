"""The Pulumi CLI: the one on PATH, else the official download, else built from its Go module."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tarfile
import tempfile
import urllib.error
import urllib.request
from pathlib import Path, PurePosixPath
from typing import IO

from tools.bootstrap import paths
from tools.bootstrap.console import Unavailable, run, say, step
from tools.bootstrap.environment import version, version_of
from tools.bootstrap.go_toolchain import toolchain

SOURCE = paths.PROJECT / "tools" / "bootstrap" / "pulumi"
HOST_SOURCE = paths.PROJECT / "airgap" / "stand_ins" / "language_host"
COMMAND = "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi"
VERSION_VARIABLE = "github.com/pulumi/pulumi/sdk/v3/go/common/version.Version"
STAND_INS = (
    "pulumi-language-python",
    "pulumi-resource-pulumi-python",
    "language_host.py",
    "program.py",
    "dynamic_provider.py",
)
"""What a built CLI lacks and the download has: the Python language host and the provider of dynamic resources."""
PROVIDERS = (
    paths.PROJECT / "airgap" / "stand_ins" / "command" / "pulumi-resource-command",
    paths.PROJECT / "airgap" / "stand_ins" / "azure_native" / "pulumi-resource-azure-native",
)
"""Stand in for providers that only the download site has, the second one in previews; they run where they are."""
LANGUAGE_HOST = STAND_INS[0]
MACHINES = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64"}
"""Names of processors, as the download's file names have them."""
DOWNLOAD_SECONDS = 10
"""How long the download may keep silent."""


def folder() -> Path | None:
    """The folder of the `pulumi` to use, if there is one."""
    return _on_path() or next((path for path in (_downloaded(), _built()) if path.exists()), None)


def install() -> None:
    """Bring a CLI in, if there is none."""
    if folder() is None:
        if found := shutil.which("pulumi"):
            minimum = paths.versions()["pulumi"]["minimum"]
            say(f"{found} is older than {minimum} or lacks {LANGUAGE_HOST}: it is not used.")
        try:
            _download()
        except Unavailable:
            _build()
    if _built().exists():
        _refresh_stand_ins(_built())


def _downloaded() -> Path:
    return paths.tool("pulumi", paths.versions()["pulumi"]["download"]["version"]) / "bin"


def _built() -> Path:
    return paths.tool("pulumi", paths.versions()["pulumi"]["built"]) / "bin"


def _on_path() -> Path | None:
    """The folder of a CLI of the user's own that is new enough and has its Python language host with it."""
    found = shutil.which("pulumi")
    if found is None or Path(found).is_relative_to(paths.directory()):
        return None
    minimum = version(paths.versions()["pulumi"]["minimum"])
    if version_of([found, "version"], os.environ | {"PULUMI_SKIP_UPDATE_CHECK": "true"}) < minimum:
        return None
    beside = Path(found).resolve().with_name(LANGUAGE_HOST)
    return Path(found).parent if beside.exists() or shutil.which(LANGUAGE_HOST) else None


def _platform() -> str:
    """This computer as the download's file names have it, such as linux-x64."""
    system = os.uname()
    return f"{system.sysname.lower()}-{MACHINES.get(system.machine, system.machine)}"


def _download() -> None:
    pinned = paths.versions()["pulumi"]["download"]
    with step(f"Downloading the Pulumi CLI {pinned['version']}"):
        digest = pinned["sha256"].get(_platform())
        if digest is None:
            raise Unavailable(f"there is none for {_platform()}")
        url = pinned["url"].format(version=pinned["version"], platform=_platform())
        with paths.installing(_downloaded().parent) as partial, tempfile.TemporaryFile() as archive:
            found = hashlib.sha256()
            try:
                with urllib.request.urlopen(url, timeout=DOWNLOAD_SECONDS) as answer:
                    while block := answer.read(1 << 20):
                        found.update(block)
                        archive.write(block)
            except OSError as error:
                raise Unavailable(f"{url}: {_reason(error)}") from None
            if found.hexdigest() != digest:
                raise Unavailable(f"{url} has the SHA-256 {found.hexdigest()} instead of {digest}")
            archive.seek(0)
            _unpack(archive, partial / "bin")
            _check(partial / "bin")


def _reason(error: OSError) -> str:
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    return getattr(cause, "strerror", None) or str(cause)


def _unpack(archive: IO[bytes], target: Path) -> None:
    """All files of the archive, which has one level of folders, into one folder."""
    target.mkdir()
    with tarfile.open(fileobj=archive, mode="r:gz") as content:
        for member in content:
            if (stream := content.extractfile(member)) is not None:
                file = target / PurePosixPath(member.name).name
                with file.open("wb") as copy:
                    shutil.copyfileobj(stream, copy)
                file.chmod(0o755)


def _build() -> None:
    number = paths.versions()["pulumi"]["built"]
    with tempfile.TemporaryDirectory(dir=paths.directory()) as scratch, paths.installing(_built().parent) as partial:
        go, environment = toolchain(SOURCE, Path(scratch))
        with step(f"Building the Pulumi CLI {number} from its Go module, which takes some minutes"):
            run(
                [
                    *(go, "build", "-trimpath", "-ldflags", f"-s -w -X {VERSION_VARIABLE}=v{number}"),
                    *("-o", partial / "bin" / "pulumi", COMMAND),
                ],
                log=paths.directory() / "logs" / "pulumi-build.log",
                cwd=SOURCE,
                env=environment,
            )
            _refresh_stand_ins(partial / "bin")
            _check(partial / "bin")


def _check(target: Path) -> None:
    if not version_of([str(target / "pulumi"), "version"], os.environ | {"PULUMI_SKIP_UPDATE_CHECK": "true"}):
        raise Unavailable("it does not run on this computer")


def _refresh_stand_ins(target: Path) -> None:
    """Copy those that this checkout has otherwise, each in one move: another checkout may be using them."""
    for name in STAND_INS:
        source, copy = HOST_SOURCE / name, target / name
        if not copy.exists() or copy.read_bytes() != source.read_bytes():
            new = copy.with_name(f".{name}.new")
            shutil.copy(source, new)
            new.replace(copy)
    for provider in PROVIDERS:
        _link(target / provider.name, provider)
    _link_built_providers(target)


def _link_built_providers(target: Path) -> None:
    """Those that `make bundle` has built from source; a CLI of the download fetches its own."""
    index = paths.directory() / "bundle" / "bundle.json"
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
