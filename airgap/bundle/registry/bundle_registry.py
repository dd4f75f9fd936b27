"""The bundle's registry: Debian's docker-registry with TLS and a password, as a background process.

Its passwords have no permissions, so the registry that machines reach is read-only. Pushes go to `writable`, a second
process over the same files that only this computer reaches.
"""

from __future__ import annotations

import json
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

import psutil

from airgap.bundle.registry import certificates
from airgap.bundle.registry.configuration import read_login, write_configuration
from airgap.bundle.store import Store
from tools.bootstrap.atomic_install import atomic_install
from tools.bootstrap.console import SetupError, log_message
from tools.bootstrap.file_lock import file_lock
from tools.bootstrap.process import has_start_time, inherited_environment, run_visible, start_time

PROGRAM = "docker-registry"
LOOPBACK = "127.0.0.1"
START_SECONDS = 20
STOP_SECONDS = 10


@dataclass(frozen=True)
class RunningRegistry:
    """A running registry with all files in `folder`."""

    folder: Path
    host: str
    """The address and port, `address:port`."""
    pid: int
    read_only: bool
    """True if the registry refuses all pushes."""

    @property
    def certificates(self) -> Path:
        """A folder with ca.crt, in the layout of image tools."""
        return self.folder / "trust"

    @property
    def authfile(self) -> Path:
        """The file with user and password, in the format of image tools."""
        return self.folder / "auth.json"

    @property
    def login(self) -> tuple[str, str]:
        """User and password."""
        return read_login(self.authfile)

    @property
    def ca(self) -> str:
        """The certificate authority in PEM format."""
        return (self.certificates / "ca.crt").read_text()

    @property
    def certificate_expires(self) -> float:
        """The time at which the server certificate expires, in seconds since 1970."""
        expires = certificates.expiry(self.folder)
        assert expires is not None
        return expires.timestamp()

    def as_json(self) -> str:
        """Return the URL and the paths of the CA and of the credentials, as JSON."""
        return json.dumps(
            {"url": f"https://{self.host}", "ca": str(self.certificates / "ca.crt"), "authfile": str(self.authfile)}
        )


def program(store: Store) -> Path | None:
    """Return the registry's program from PATH or from the unpacked package; None if there is neither."""
    on_path = shutil.which(PROGRAM)
    unpacked = _unpacked(store) / "usr" / "bin" / PROGRAM
    return Path(on_path) if on_path else unpacked if unpacked.exists() else None


def start(
    store: Store, address: str, port: int, names: list[str], folder: Path | None = None, *, read_only: bool
) -> RunningRegistry:
    """Start the registry, unless it runs already with the same arguments.

    Args:
        store: the cache of the bundle.
        address: the address to listen on.
        port: the port to listen on.
        names: further host names and addresses for the certificate.
        folder: the registry's folder, with its password and certificate. All registries serve the same images.
        read_only: refuse all pushes.

    Raises:
        SetupError: the port is in use, or the start failed; with the last lines of the log.
    """
    folder = folder or home(store)
    running_registry = _recorded(folder)
    certificate = folder / "server.crt"
    old_certificate = certificate.read_bytes() if certificate.exists() else b""
    certificates.issue(folder, sorted({address, *names}))
    if running_registry is not None:
        requested = (f"{address}:{port}", read_only)
        unchanged = (running_registry.host, running_registry.read_only) == requested
        if unchanged and certificate.read_bytes() == old_certificate:
            return running_registry
        stop(folder)
    started = _launch(store, address, port, folder, read_only, [])
    log_message(f"The registry runs at https://{started.host}")
    return started


@contextmanager
def writable(store: Store, *, alone: bool = False) -> Iterator[RunningRegistry]:
    """Run a registry that accepts pushes, on the loopback address and within the block.

    Its password is temporary. All registries of the store serve the pushed images.

    Args:
        store: the cache of the bundle.
        alone: True to wait until no other process runs such a registry, and to let none start.

    Raises:
        SetupError: the start failed; with the last lines of the log.
    """
    lock = file_lock(home(store) / "pushes.lock", "Other processes use the registry's files.", shared=not alone)
    with lock, tempfile.TemporaryDirectory(prefix="mlplatform-registry-") as name:
        folder = Path(name)
        certificates.issue(folder, [LOOPBACK])
        # A killed process cannot stop the registry -> the kernel does.
        parent_death_signal = ["setpriv", "--pdeathsig", "TERM"]
        try:
            yield _launch(store, LOOPBACK, _free_port(), folder, False, parent_death_signal)
        finally:
            stop(folder)


def _launch(store: Store, address: str, port: int, folder: Path, read_only: bool, prefix: list[str]) -> RunningRegistry:
    """Start a registry in a folder that has a certificate."""
    executable = program(store) or _install(store)
    _require_free(address, port)
    write_configuration(folder, home(store) / "data", address, port, read_only)
    log = folder / "registry.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [*prefix, executable, "serve", folder / "config.yml"],
            cwd=folder,
            env=inherited_environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    record = {
        "host": f"{address}:{port}",
        "pid": process.pid,
        "started": start_time(psutil.Process(process.pid)),
        "read_only": read_only,
    }
    (folder / "process.json").write_text(json.dumps(record))
    try:
        _wait_until_ready(folder, address, port, process, log)
    except BaseException:
        stop(folder)
        raise
    return running(folder)


def home(store: Store) -> Path:
    """Return the folder of the command line's registry, which also holds the images of all registries."""
    return store.root / "registry"


def running(folder: Path) -> RunningRegistry:
    """Return the running registry of a folder.

    Raises:
        SetupError: it does not run.
    """
    registry = _recorded(folder)
    if registry is None:
        raise SetupError("The bundle's registry does not run. Start it: python -m airgap.bundle registry start")
    return registry


def is_running(folder: Path) -> bool:
    """Return True if the registry of a folder runs."""
    return _recorded(folder) is not None


def stop(folder: Path) -> None:
    """Stop the registry of a folder, if it runs."""
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
        if process.status() == psutil.STATUS_ZOMBIE or not has_start_time(process, record["started"]):
            return None  # it has exited, or its process id belongs to another program
    except (FileNotFoundError, ValueError, psutil.NoSuchProcess):
        return None
    # Earlier versions did not record this, and their registries accept pushes.
    return RunningRegistry(folder, record["host"], record["pid"], record.get("read_only", False))


def _unpacked(store: Store) -> Path:
    return store.root / "tools" / PROGRAM


def _install(store: Store) -> Path:
    """Unpack Debian's package beside the bundle. An installation would start a system service."""
    log_message(f"Unpacking Debian's package {PROGRAM} ...")
    with atomic_install(_unpacked(store)) as partial, tempfile.TemporaryDirectory() as download:
        # apt downloads as another user -> the folder must be writable for everyone.
        Path(download).chmod(0o777)
        log = store.root / "logs" / f"{PROGRAM}.log"
        run_visible(["apt-get", "download", PROGRAM], cwd=Path(download), log=log)
        (package,) = Path(download).glob("*.deb")
        run_visible(["dpkg-deb", "--extract", package, partial], log=log)
    return _unpacked(store) / "usr" / "bin" / PROGRAM


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
            raise SetupError(
                f"The registry cannot listen on {address}:{port} ({error.strerror}). Choose another address or port."
            ) from None


def _wait_until_ready(folder: Path, address: str, port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    context = ssl.create_default_context(cafile=str(folder / "ca.crt"))
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(f"https://{address}:{port}/v2/", timeout=2, context=context)
        except urllib.error.HTTPError as response:
            if response.code == 401:
                return
        except OSError:
            pass
        time.sleep(0.1)
    lines = "\n".join(f"  {line}" for line in log.read_text(errors="replace").splitlines()[-10:])
    raise SetupError(f"The registry did not start. The last lines of {log}:\n{lines}")
