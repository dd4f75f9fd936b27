"""A machine inside this computer as a resource."""

from __future__ import annotations

import os
import secrets
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, ReadResult, Resource, UpdateResult

from infra.dynamic_provider import DynamicProvider, UserError, changed
from infra.lab.bridge import Bridge
from infra.lab.lab_root import USER
from infra.lab.machine_container import MachineContainer
from infra.lab.requirements import require_root
from infra.retry import poll
from infra.secrets import key_pair

START_SECONDS = 90


class _LabMachineProvider(DynamicProvider):
    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        """Replace a machine that is configured differently; update one that is off."""
        replaces = changed(_olds, _news, ("stack", "subnet", "address", "root", "authorized_key", "folder"))
        return DiffResult(changes=bool(replaces) or not _olds["running"], replaces=replaces, delete_before_replace=True)

    def create(self, props: dict[str, Any]) -> CreateResult:
        # An `up` that was killed may have left a machine that is missing from the state.
        _container(props).remove()
        host_key = _write_identity(props)
        _start(props)
        return CreateResult(props["hostname"], props | {"host_key": host_key, "running": True})

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        """Start a machine that is off."""
        _container(_olds).stop()
        _start(_olds)
        return UpdateResult(_olds | {"running": True})

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """Report a machine without its files as deleted: `up` creates a new one."""
        if not Path(props["folder"]).is_dir():
            return ReadResult("", {})
        return ReadResult(id_, props | {"running": _container(props).running()})

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        require_root()
        _container(_props).remove()
        _bridge(_props).disconnect(_props["hostname"], _props["address"])
        with suppress(OSError):  # not empty while other machines have their files there
            Path(_props["folder"]).parent.rmdir()


class LabMachine(Resource, module="infra", name="LabMachine"):
    """A machine with systemd and an SSH server. If a refresh finds it off, the next `up` starts it.

    Args:
        root: the shared root file system.
        authorized_key: the public key that may log in.
        folder: for all files that the machine writes.

    Outputs:
        host_key: its public SSH key.

    Raises (as a failed resource):
        UserError: the machine did not start, or its SSH server did not respond within 90 seconds.
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
    # Each start creates a new network namespace, so a machine that was off starts without old rules and links.
    _bridge(props).connect(props["hostname"], props["address"])
    _container(props).start(Path(props["root"]), props["hostname"])
    _wait_for_ssh(props)


def _write_identity(props: dict[str, Any]) -> str:
    """Write the files that differ between machines over the shared file system; return the public SSH host key."""
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
            # In an overlay, owner and mode of an upper folder hide those of the lower folder.
            lower_mode = (root / folder).stat().st_mode & 0o7777 if (root / folder).exists() else 0o700
            (upper / folder).mkdir(exist_ok=True)
            (upper / folder).chmod(lower_mode)
        file = upper / path
        file.touch(mode=mode)
        file.write_text(content)
    owner, home = (root / "home" / USER).stat(), upper / "home" / USER
    for entry in (home, *home.rglob("*")):
        os.chown(entry, owner.st_uid, owner.st_gid)
    return public


def _wait_for_ssh(props: dict[str, Any]) -> None:
    def responds() -> bool | None:
        with suppress(OSError), socket.create_connection((props["address"], 22), timeout=2) as connection:
            if connection.recv(4) == b"SSH-":
                return True
        return None

    if not poll(responds, timeout=START_SECONDS, interval=0.2):
        raise UserError(
            f"machine {props['hostname']}: no SSH server responded at {props['address']} within {START_SECONDS} s; "
            f"read its console: {Path(props['folder']) / 'console.log'}"
        )
