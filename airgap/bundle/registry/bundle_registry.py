"""The bundle's own registry: Debian's docker-registry behind TLS and a password, as a background process.

Its passwords know no rights, so what machines reach takes no images at all, and images come in by `writable`: another
process over the same files, for this computer alone.
"""

from __future__ import annotations

import base64
import json
import secrets
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import bcrypt
import psutil

from airgap.bundle.errors import BundleError
from airgap.bundle.process import run
from airgap.bundle.registry import certificates
from airgap.bundle.store import Store
from tools.bootstrap.atomic_install import atomic_install
from tools.bootstrap.console import log_message

PROGRAM = "docker-registry"
USER = "mlplatform"
LOOPBACK = "127.0.0.1"
START_SECONDS = 20
STOP_SECONDS = 10
ROUNDS = 5
"""The cost of a password's bcrypt hash, as `htpasswd -B` has it."""


@dataclass(frozen=True)
class RunningRegistry:
    """A registry that runs. All files are in `folder`."""

    folder: Path
    host: str
    """Where it answers, `address:port`."""
    pid: int
    read_only: bool
    """Whether it refuses images, whoever sends them."""

    @property
    def certificates(self) -> Path:
        """A folder with ca.crt, as image tools take it."""
        return self.folder / "trust"

    @property
    def authfile(self) -> Path:
        """User and password, as image tools take them."""
        return self.folder / "auth.json"

    @property
    def login(self) -> tuple[str, str]:
        """User and password."""
        return _login(self.authfile)

    @property
    def ca(self) -> str:
        """Its certificate authority in PEM format."""
        return (self.certificates / "ca.crt").read_text()

    def as_json(self) -> str:
        """Its address and the files to reach it with."""
        return json.dumps(
            {"url": f"https://{self.host}", "ca": str(self.certificates / "ca.crt"), "authfile": str(self.authfile)}
        )


def program(store: Store) -> Path | None:
    """The registry's program, if it is on this machine."""
    found = shutil.which(PROGRAM)
    ours = _unpacked(store) / "usr" / "bin" / PROGRAM
    return Path(found) if found else ours if ours.exists() else None


def start(
    store: Store, address: str, port: int, names: list[str], folder: Path | None = None, *, read_only: bool
) -> RunningRegistry:
    """Start it on that address and port, or leave it as it is if it runs there; further names are for its certificate.

    Each `folder` has a registry of its own, with a password and certificate of its own; all have the same images.
    `read_only` refuses to take more of them.

    Raises:
        BundleError: the port is taken, or it did not start; with the last lines of its log.
    """
    folder = folder or home(store)
    before = _recorded(folder)
    certificate = folder / "server.crt"
    old = certificate.read_bytes() if certificate.exists() else b""
    certificates.issue(folder, sorted({address, *names}))
    if before is not None:
        wanted = (f"{address}:{port}", read_only)
        if (before.host, before.read_only) == wanted and certificate.read_bytes() == old:
            return before
        stop(folder)
    started = _launch(store, address, port, folder, read_only, [])
    log_message(f"The registry answers at https://{started.host}")
    return started


@contextmanager
def writable(store: Store) -> Iterator[RunningRegistry]:
    """One that takes images, for this computer alone and for as long as somebody pushes.

    Nobody else ever has its password, which goes with it. What it takes, all others have.

    Raises:
        BundleError: it did not start; with the last lines of its log.
    """
    with tempfile.TemporaryDirectory(prefix="mlplatform-registry-") as name:
        folder = Path(name)
        certificates.issue(folder, [LOOPBACK])
        # Who is killed while it pushes cannot end it.
        ends_with_us = ["setpriv", "--pdeathsig", "TERM"]
        try:
            yield _launch(store, LOOPBACK, _free_port(), folder, False, ends_with_us)
        finally:
            stop(folder)


def _launch(store: Store, address: str, port: int, folder: Path, read_only: bool, prefix: list[str]) -> RunningRegistry:
    """Start a registry by a folder that has its certificate."""
    executable = program(store) or _install(store)
    _require_free(address, port)
    _lay_out(folder, home(store) / "data", address, port, read_only)
    log = folder / "registry.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [*prefix, executable, "serve", folder / "config.yml"],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    record = {
        "host": f"{address}:{port}",
        "pid": process.pid,
        "started": psutil.Process(process.pid).create_time(),
        "read_only": read_only,
    }
    (folder / "process.json").write_text(json.dumps(record))
    try:
        _await(folder, address, port, process, log)
    except BaseException:
        stop(folder)
        raise
    return running(folder)


def home(store: Store) -> Path:
    """The folder of the registry that the command line starts; all registries' images lie in it."""
    return store.root / "registry"


def running(folder: Path) -> RunningRegistry:
    """The registry of that folder, which runs.

    Raises:
        BundleError: it does not.
    """
    registry = _recorded(folder)
    if registry is None:
        raise BundleError("The bundle's registry does not run; start it: python -m airgap.bundle registry start")
    return registry


def is_running(folder: Path) -> bool:
    """Whether the registry of that folder does."""
    return _recorded(folder) is not None


def stop(folder: Path) -> None:
    """End the registry of that folder, if it runs."""
    if (registry := _recorded(folder)) is not None:
        process = psutil.Process(registry.pid)
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except psutil.TimeoutExpired:
            process.kill()
    (folder / "process.json").unlink(missing_ok=True)


def _recorded(folder: Path) -> RunningRegistry | None:
    try:
        record = json.loads((folder / "process.json").read_text())
        process = psutil.Process(record["pid"])
        if process.status() == psutil.STATUS_ZOMBIE or abs(process.create_time() - record["started"]) > 1:
            return None  # it ended, or its number was given to another program
    except (FileNotFoundError, ValueError, psutil.NoSuchProcess):
        return None
    # One that an earlier version started has no word of it, and takes images.
    return RunningRegistry(folder, record["host"], record["pid"], record.get("read_only", False))


def _unpacked(store: Store) -> Path:
    return store.root / "tools" / PROGRAM


def _install(store: Store) -> Path:
    """Unpack Debian's package beside the bundle: installed, it would start a service of its own on this machine."""
    log_message(f"Unpacking Debian's package {PROGRAM} ...")
    with atomic_install(_unpacked(store)) as partial, tempfile.TemporaryDirectory() as download:
        # apt drops its privileges for a download where it can.
        Path(download).chmod(0o777)
        log = store.root / "logs" / f"{PROGRAM}.log"
        run(["apt-get", "download", PROGRAM], cwd=Path(download), log=log)
        (package,) = Path(download).glob("*.deb")
        run(["dpkg-deb", "--extract", package, partial], log=log)
    return _unpacked(store) / "usr" / "bin" / PROGRAM


def _lay_out(folder: Path, data: Path, address: str, port: int, read_only: bool) -> None:
    """The registry's settings, and the password where there is none yet."""
    trust = folder / "trust"
    trust.mkdir(exist_ok=True)
    shutil.copyfile(folder / "ca.crt", trust / "ca.crt")
    authfile = folder / "auth.json"
    # Machines have the password of an earlier start already.
    password = _login(authfile)[1] if authfile.exists() else secrets.token_urlsafe(24)
    # Checked at every request for a layer; a password of 192 random bits takes no slow hash to be safe.
    hashed = bcrypt.hashpw(password.encode(), bcrypt.gensalt(ROUNDS)).decode()
    certificates.write_private(folder / "htpasswd", f"{USER}:{hashed}\n".encode())
    credentials = base64.b64encode(f"{USER}:{password}".encode()).decode()
    auths = {f"{address}:{port}": {"auth": credentials}}
    certificates.write_private(authfile, json.dumps({"auths": auths}).encode())
    certificate, key = folder / "server.crt", folder / "server.key"
    settings = {
        "version": 0.1,
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {
            "filesystem": {"rootdirectory": str(data)},
            "delete": {"enabled": True},
            "maintenance": {"readonly": {"enabled": read_only}},
        },
        "http": {
            "addr": f"{address}:{port}",
            "secret": secrets.token_hex(32),
            "tls": {"certificate": str(certificate), "key": str(key), "minimumtls": "tls1.2"},
        },
        "auth": {"htpasswd": {"realm": "mlplatform", "path": str(folder / "htpasswd")}},
    }
    # JSON is YAML too.
    certificates.write_private(folder / "config.yml", json.dumps(settings, indent=1).encode())


def _login(authfile: Path) -> tuple[str, str]:
    (shown,) = json.loads(authfile.read_text())["auths"].values()
    user, _, password = base64.b64decode(shown["auth"]).decode().partition(":")
    return user, password


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def _require_free(address: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            raise BundleError(
                f"The registry cannot listen on {address}:{port} ({error.strerror}); choose another of both."
            ) from None


def _await(folder: Path, address: str, port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    context = ssl.create_default_context(cafile=str(folder / "ca.crt"))
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(f"https://{address}:{port}/v2/", timeout=2, context=context)
        except urllib.error.HTTPError as answer:
            if answer.code == 401:
                return
        except OSError:
            pass
        time.sleep(0.1)
    lines = "\n".join(f"  {line}" for line in log.read_text(errors="replace").splitlines()[-10:])
    raise BundleError(f"The registry did not start; the end of {log}:\n{lines}")
