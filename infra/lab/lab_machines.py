"""Machines inside this Linux computer: see `infra.lab.machine_container` and `infra.lab.bridge`."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, ReadResult, Resource, UpdateResult

from infra.dynamic_provider import DynamicProvider, UserError, any_changed
from infra.lab.bridge import Bridge
from infra.lab.machine_container import MachineContainer
from infra.machine import Machine
from infra.secrets import SshKey, key_pair
from settings.infra import LabSettings
from settings.paths import cache_directory

USER = "mlplatform"
FIRST_ADDRESS = 11
"""Of the control plane, in the lab's subnet; workers follow it."""
START_SECONDS = 90
WATCHERS = Path("/proc/sys/fs/inotify/max_user_instances")
WATCHERS_A_MACHINE = 20
"""Of systemd, kubelet and the cluster's controllers, counted on three machines; root has them in common with all."""


def lab_machines(settings: LabSettings, network: LabNetwork, stack: str, directory: Path) -> list[Machine]:
    """Machines on that network, made by this stack; their files lie below `directory`.

    Raises:
        RunError: the kernel's limit of file watchers is too low for so many; kubelet would end at its start.
    """
    _require_watchers(settings.size)
    if os.geteuid() != 0:
        pulumi.log.warn("infra:machines: lab makes machines inside this computer, which takes root: run it with sudo")
    root = LabRoot("lab-root")
    key = SshKey("lab-key")
    machines = []
    for index in range(settings.size):
        name = f"worker-{index}" if index else "control-plane"
        machine = LabMachine(
            name,
            stack=stack,
            subnet=str(settings.subnet),
            address=str(settings.subnet[FIRST_ADDRESS + index]),
            root=root.path,
            authorized_key=key.public_key,
            folder=directory / "lab" / name,
            opts=pulumi.ResourceOptions(depends_on=[network]),
        )
        machines.append(
            Machine(
                name=name,
                role="worker" if index else "control-plane",
                public_address=machine.address,
                private_address=machine.address,
                user=USER,
                key=key.private_key,
                host_key=machine.host_key,
                resource=machine,
            )
        )
    return machines


class _LabNetworkProvider(DynamicProvider):
    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        replaces = [name for name in ("stack", "subnet") if _olds[name] != _news[name]]
        return DiffResult(changes=bool(replaces), replaces=replaces, delete_before_replace=True)

    def create(self, props: dict[str, Any]) -> CreateResult:
        _require_root_and_tools()
        Bridge(props["stack"], props["subnet"]).create()
        return CreateResult(props["subnet"], props)

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        there = Bridge(props["stack"], props["subnet"]).there()
        return ReadResult(id_, props) if there else ReadResult("", {})

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        _require_root()
        Bridge(_props["stack"], _props["subnet"]).delete()


class LabNetwork(Resource, module="infra", name="LabNetwork"):
    """A bridge on which this computer has the first address of `subnet`.

    Raises (as a failed resource):
        UserError: this is not root on Linux, or the subnet is in use.
    """

    subnet: pulumi.Output[str]

    def __init__(self, name: str, *, stack: str, subnet: str, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(_LabNetworkProvider(), name, {"stack": stack, "subnet": subnet}, opts)


class _LabRootProvider(DynamicProvider):
    def create(self, props: dict[str, Any]) -> CreateResult:
        path = _unpacked_root()
        return CreateResult(path.name, {"path": str(path)})

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        return ReadResult(id_, props) if Path(props["path"]).is_dir() else ReadResult("", {})


class LabRoot(Resource, module="infra", name="LabRoot"):
    """The root file system that all machines share and none writes to: this computer's own distribution.

    It stays in the cache when the stack is destroyed.
    """

    path: pulumi.Output[str]

    def __init__(self, name: str, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(_LabRootProvider(), name, {"path": None}, opts)


def _unpacked_root() -> Path:
    from airgap.bundle.builders.debian import ROOTFS, DebianBuild
    from airgap.bundle.progress import Progress
    from airgap.bundle.sources import load
    from airgap.bundle.store import Store
    from tools.bootstrap.atomic_install import atomic_install
    from tools.bootstrap.console import BootstrapError
    from tools.bootstrap.file_lock import file_lock

    _require_root_and_tools()
    table = load()
    build = DebianBuild(table, "machine", table.debian["machine"])
    artifact = build.artifact(Store.default())
    target = cache_directory() / "lab" / f"root-{artifact.key}"
    try:
        with file_lock(cache_directory() / "lab" / "lock", "Another stack makes the machines' root file system."):
            if not artifact.exists:
                build.build(artifact, Progress("root file system of the lab's machines"))
            if not target.exists():
                with atomic_install(target) as partial:
                    _unpack(artifact.folder / ROOTFS, partial)
    except BootstrapError as error:
        raise UserError(f"the lab's root file system cannot be made: {error}") from None
    return target


def _unpack(archive: Path, root: Path) -> None:
    """The file system with the user that SSH logs in as, and without the SSH keys that all copies would share."""
    subprocess.run(["tar", "--extract", "--numeric-owner", f"--file={archive}", f"--directory={root}"], check=True)
    subprocess.run(["useradd", "--root", str(root), "--create-home", "--shell", "/bin/bash", USER], check=True)
    (root / "etc/sudoers.d" / USER).write_text(f"{USER} ALL=(ALL) NOPASSWD: ALL\n")
    for key in (root / "etc/ssh").glob("ssh_host_*"):
        key.unlink()
    (root / "etc/machine-id").write_text("")


class _LabMachineProvider(DynamicProvider):
    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        made_of = ("stack", "subnet", "address", "root", "authorized_key", "folder")
        replaces = [name for name in made_of if any_changed(_olds, _news, [name])]
        return DiffResult(changes=bool(replaces) or not _olds["running"], replaces=replaces, delete_before_replace=True)

    def create(self, props: dict[str, Any]) -> CreateResult:
        # An `up` that was killed may have left one that the state does not know of.
        _container(props).remove()
        host_key = _write_identity(props)
        _start(props)
        return CreateResult(props["hostname"], props | {"host_key": host_key, "running": True})

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        """Switch on a machine that is off."""
        _container(_olds).stop()
        _start(_olds)
        return UpdateResult(_olds | {"running": True})

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        return ReadResult(id_, props | {"running": _container(props).running()})

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        _require_root()
        _container(_props).remove()
        _bridge(_props).disconnect(_props["hostname"], _props["address"])
        with suppress(OSError):  # not empty: other machines have their files there
            Path(_props["folder"]).parent.rmdir()


class LabMachine(Resource, module="infra", name="LabMachine"):
    """A machine with systemd and an SSH server. One that a refresh finds dead is switched on again by the next `up`.

    Args:
        root: the file system that it starts from.
        authorized_key: who may log in.
        folder: for all that it writes.

    Outputs:
        host_key: its public SSH key.

    Raises (as a failed resource):
        UserError: it did not start, or its SSH server did not answer within 90 seconds.
    """

    address: pulumi.Output[str]
    host_key: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        *,
        stack: str,
        subnet: str,
        address: str,
        root: pulumi.Input[str],
        authorized_key: pulumi.Input[str],
        folder: Path,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        props = {
            "hostname": name,
            "stack": stack,
            "subnet": subnet,
            "address": address,
            "root": root,
            "authorized_key": authorized_key,
            "folder": str(folder),
            "host_key": None,
            "running": None,
        }
        super().__init__(_LabMachineProvider(), name, props, opts)


def _container(props: dict[str, Any]) -> MachineContainer:
    name = props["hostname"]
    return MachineContainer(f"{props['stack']}.{name}", Path(props["folder"]), _bridge(props).namespace(name))


def _bridge(props: dict[str, Any]) -> Bridge:
    return Bridge(props["stack"], props["subnet"])


def _start(props: dict[str, Any]) -> None:
    # A network namespace of its own for each start: a machine that was off comes back without any rule or link.
    _bridge(props).connect(props["hostname"], props["address"])
    _container(props).start(Path(props["root"]), props["hostname"])
    _await_ssh(props)


def _write_identity(props: dict[str, Any]) -> str:
    """What tells this machine from the others, over the shared file system. Returns its public SSH key."""
    private, public = key_pair()
    name, root, upper = props["hostname"], Path(props["root"]), Path(props["folder"]) / "upper"
    upper.mkdir(parents=True)
    for path, content, mode in (
        ("etc/hostname", f"{name}\n", 0o644),
        ("etc/hosts", f"127.0.0.1 localhost\n{props['address']} {name}\n", 0o644),
        ("etc/machine-id", f"{secrets.token_hex(16)}\n", 0o444),
        ("etc/ssh/ssh_host_ed25519_key", private, 0o600),
        ("etc/ssh/ssh_host_ed25519_key.pub", f"{public}\n", 0o644),
        (f"home/{USER}/.ssh/authorized_keys", f"{props['authorized_key']}\n", 0o600),
    ):
        for folder in reversed(Path(path).parents):
            # A folder of the overlay hides owner and mode of the one beneath it.
            mode_beneath = (root / folder).stat().st_mode & 0o7777 if (root / folder).exists() else 0o700
            (upper / folder).mkdir(exist_ok=True)
            (upper / folder).chmod(mode_beneath)
        file = upper / path
        file.touch(mode=mode)
        file.write_text(content)
    owner, home = (root / "home" / USER).stat(), upper / "home" / USER
    for entry in (home, *home.rglob("*")):
        os.chown(entry, owner.st_uid, owner.st_gid)
    return public


def _await_ssh(props: dict[str, Any]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            with socket.create_connection((props["address"], 22), timeout=2) as connection:
                if connection.recv(4) == b"SSH-":
                    return
        except OSError:
            pass
        time.sleep(0.2)
    raise UserError(
        f"machine {props['hostname']}: no SSH server answered at {props['address']} within {START_SECONDS} s; "
        f"its console: {Path(props['folder']) / 'console.log'}"
    )


def _require_watchers(machines: int) -> None:
    if not WATCHERS.exists():
        return
    limit, wanted = int(WATCHERS.read_text()), machines * WATCHERS_A_MACHINE
    if limit < wanted:
        raise pulumi.RunError(
            f"infra:lab.size: {machines} machines take about {wanted} inotify instances, and this computer's limit is "
            f"{limit}: raise it (`sysctl -w {'.'.join(WATCHERS.parts[3:])}={2 * wanted}`), or make fewer machines"
        )


def _require_root() -> None:
    """Whoever may not look into machines and links would take them for gone."""
    if os.geteuid() != 0:
        raise UserError("infra:machines: lab: machines inside this computer take root: run it with sudo")


def _require_root_and_tools() -> None:
    from airgap.bundle import preflight
    from tools.bootstrap.console import BootstrapError

    _require_root()
    try:
        preflight.require({"runc": "runc", "ip": "iproute2", "mmdebstrap": "mmdebstrap"})
    except BootstrapError as error:
        raise UserError(f"infra:machines: lab: {error}") from None
    if not shutil.which("unshare"):
        raise UserError("infra:machines: lab: unshare is missing; it is part of the package util-linux")
