"""The root file system of a lab's machines as a resource."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, ReadResult, Resource, UpdateResult

from infra.dynamic_provider import DynamicProvider, UserError
from infra.lab.requirements import require_root_and_tools
from settings.paths import cache_directory
from tools.bootstrap.process import capture

USER = "mlplatform"
"""The user that SSH logs in as."""


class _LabRootProvider(DynamicProvider):
    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        """Keep the file system for as long as it exists: machines that run from it cannot move to another one."""
        return DiffResult(changes=False)

    def create(self, props: dict[str, Any]) -> CreateResult:
        path = root_file_system()
        return CreateResult(path.name, {"path": str(path)})

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        return UpdateResult(_olds)

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        return ReadResult(id_, props) if Path(props["path"]).is_dir() else ReadResult("", {})


class LabRoot(Resource, module="infra", name="LabRoot"):
    """The read-only root file system that all machines share: the distribution of this computer.

    It stays in the cache when the stack is destroyed.
    """

    path: pulumi.Output[str]

    def __init__(self, name: str, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(_LabRootProvider(), name, {"path": None}, opts)


def root_file_system() -> Path:
    """Return the folder of the root file system; build it if the cache does not have it.

    Raises:
        UserError: this process is not root, a program is missing, or the build failed.
    """
    from airgap.bundle.builders.debian import ROOTFS, DebianBuild
    from airgap.bundle.progress import Progress
    from airgap.bundle.source_table import load_sources
    from airgap.bundle.store import Store
    from tools.bootstrap.atomic_install import atomic_install
    from tools.bootstrap.console import SetupError
    from tools.bootstrap.file_lock import file_lock

    require_root_and_tools()
    sources = load_sources()
    build = DebianBuild(sources, "machine", sources.debian["machine"])
    archive = build.artifact(Store.default())
    target = cache_directory() / "lab" / f"root-{archive.key}"
    try:
        with file_lock(cache_directory() / "lab" / "lock", "Another stack builds the machines' root file system."):
            if not archive.exists:
                with Progress("root file system of the lab's machines", f"{archive.kind} machine") as progress:
                    build.build(archive, progress)
                    progress.done("built")
            if not target.exists():
                with atomic_install(target) as partial:
                    _unpack(archive.folder / ROOTFS, partial)
    except SetupError as error:
        raise UserError(f"the root file system of the lab's machines cannot be built: {error}") from None
    return target


def _unpack(archive: Path, root: Path) -> None:
    """Unpack the file system, add the SSH user, and remove keys that no two machines may share."""
    capture(["tar", "--extract", "--numeric-owner", f"--file={archive}", f"--directory={root}"])
    capture(["useradd", "--root", root, "--create-home", "--shell", "/bin/bash", USER])
    (root / "etc/sudoers.d" / USER).write_text(f"{USER} ALL=(ALL) NOPASSWD: ALL\n")
    for key in (root / "etc/ssh").glob("ssh_host_*"):
        key.unlink()
    (root / "etc/machine-id").write_text("")
