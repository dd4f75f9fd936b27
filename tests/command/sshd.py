"""An OpenSSH server on 127.0.0.1 with temporary keys."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

import psutil

from airgap.stand_ins.protocol.property_values import Properties
from infra.local.free_ports import free_port
from tests.waiting import until

SERVER = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:" + os.environ.get("PATH", ""))
USER = pwd.getpwuid(os.getuid()).pw_name


def missing() -> str:
    """Return the reason why no server can be started here, or an empty string."""
    if SERVER is None:
        return "no OpenSSH server here: install openssh-server"
    if shutil.which("ssh-keygen") is None:
        return "no ssh-keygen here: install openssh-client"
    return ""


def make_key(path: Path, kind: str = "ed25519", passphrase: str = "", form: str = "RFC4716") -> tuple[str, str]:
    """Create a key; return the private key and the public line."""
    subprocess.run(
        [
            "ssh-keygen",
            "-q",
            "-t",
            kind,
            *(["-b", "2048"] if kind == "rsa" else []),
            "-m",
            form,
            "-N",
            passphrase,
            "-C",
            "comment",
            "-f",
            str(path),
        ],
        check=True,
    )
    return path.read_text(), path.with_name(path.name + ".pub").read_text().strip()


class Sshd:
    """A server for the user of this process; it accepts `key` and the keys in the file `authorized`."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.port = free_port()
        _, self.host_key = make_key(folder / "host_key")
        self.key, public = make_key(folder / "user_key")
        self.authorized = folder / "authorized_keys"
        self.authorized.write_text(public + "\n")
        self.home = folder / "home"
        self.home.mkdir()
        self.process: subprocess.Popen[bytes] | None = None
        settings = [
            f"Port {self.port}",
            "ListenAddress 127.0.0.1",
            f"HostKey {folder / 'host_key'}",
            f"AuthorizedKeysFile {self.authorized}",
            "PidFile none",
            "StrictModes no",
            "UsePAM no",
            "PermitRootLogin yes",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            "AcceptEnv GREETING PULUMI_COMMAND_STDOUT",
            f"Subsystem sftp internal-sftp -d {self.home}",
            "LogLevel ERROR",
            *options,
        ]
        (folder / "config").write_text("\n".join(settings) + "\n")

    def start(self) -> None:
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # the server requires it, and systemd does not run here
        assert SERVER is not None
        self.process = subprocess.Popen([SERVER, "-D", "-e", "-f", self.folder / "config"], stderr=subprocess.DEVNULL)
        until(self._listens, what="the start of sshd")

    def stop(self) -> None:
        """Kill the server and its sessions."""
        if self.process is not None:
            for session in self.sessions():
                session.kill()
            self.process.kill()
            self.process.wait()

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def sessions(self) -> list[psutil.Process]:
        assert self.process is not None
        return psutil.Process(self.process.pid).children(recursive=True)

    def connection(self, **changes: Any) -> Properties:
        """Return the input `connection`, with changes; None removes an entry."""
        inputs: Properties = {
            "host": "127.0.0.1",
            "port": float(self.port),
            "user": USER,
            "privateKey": self.key,
            "hostKey": self.host_key,
            "dialErrorLimit": 0.0,
            "perDialTimeout": 10.0,
        }
        return {name: value for name, value in (inputs | changes).items() if value is not None}
