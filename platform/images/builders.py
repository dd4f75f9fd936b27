"""The programs that build and push images: Docker if its daemon responds, else buildah."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mlplatform.images.registry_client import RegistryClient

from infra.dynamic_provider import UserError
from infra.registry import docker_config
from settings.paths import cache_directory
from tools.bootstrap.process import CommandError, capture, run_visible

EPOCH = "1767225600"
"""2026-01-01, the date of all files in our layers, so that equal files give equal layers."""


class Builder(Protocol):
    """A program that builds and pushes images."""

    def build(self, context: Path, target: str, base: str | None, name: str, registry: RegistryClient) -> None:
        """Build the stage `target` of the Dockerfile in `context`; `base` is its build argument BASE."""

    def push(self, name: str, reference: str, registry: RegistryClient) -> None:
        """Push the image `name` as `reference`."""


def builder(storage: Path) -> Builder:
    """Return the program that builds images on this computer; buildah keeps its layers in `storage`.

    Raises:
        UserError: neither program can be used; the text says what to install.
    """
    if shutil.which("docker") and _docker_responds():
        return Docker()
    if shutil.which("buildah") is None:
        raise UserError(
            "building images needs Docker or buildah: no Docker daemon responds, and buildah is not installed; "
            "install one of them (Debian, Ubuntu: apt-get install buildah)"
        )
    if os.geteuid() != 0:
        raise UserError("buildah needs root: run `pulumi` as root, or start a Docker daemon that this user may use")
    return Buildah(storage)


def _docker_responds() -> bool:
    try:
        capture(["docker", "info"])
    except CommandError:
        return False
    return True


class Docker:
    """The command `docker`."""

    def build(self, context: Path, target: str, base: str | None, name: str, registry: RegistryClient) -> None:
        """Build the stage `target` with BuildKit."""
        with _login(registry) as folder:
            arguments = ["--build-arg", f"BASE={base}"] if base else []
            environment = {"DOCKER_CONFIG": str(folder), "DOCKER_BUILDKIT": "1", "SOURCE_DATE_EPOCH": EPOCH}
            _run(["docker", "build", "--target", target, *arguments, "--tag", name, context], environment)

    def push(self, name: str, reference: str, registry: RegistryClient) -> None:
        """Push the image `name` as `reference`, and remove that name from the daemon."""
        _run(["docker", "tag", name, reference])
        with _login(registry) as folder:
            try:
                _run(["docker", "push", "--quiet", reference], {"DOCKER_CONFIG": str(folder)})
            except CommandError as failure:
                address = registry.host.partition("/")[0]
                hint = f"\nThe daemon trusts the registry once its certificate is /etc/docker/certs.d/{address}/ca.crt"
                raise UserError(f"{failure}{hint if registry.ca else ''}") from None
        _run(["docker", "rmi", reference])


@dataclass(frozen=True)
class Buildah:
    """The command `buildah`; later builds reuse the layers in `storage`."""

    storage: Path

    def build(self, context: Path, target: str, base: str | None, name: str, registry: RegistryClient) -> None:
        """Build the stage `target` in a chroot. No other build may run: what killed ones left is deleted first."""
        self._run("rm", "--all")
        arguments = ["--build-arg", f"BASE={base}"] if base else []
        options = ["--isolation", "chroot", "--format", "oci", "--timestamp", EPOCH, "--layers", "--pull"]
        with _login(registry) as folder:
            self._run("bud", *options, *_trust(folder), "--target", target, *arguments, "--tag", name, str(context))

    def push(self, name: str, reference: str, registry: RegistryClient) -> None:
        """Push the image `name` as `reference`."""
        with _login(registry) as folder:
            self._run("push", *_trust(folder), name, f"docker://{reference}")

    def _run(self, command: str, *arguments: str) -> None:
        self.storage.mkdir(parents=True, exist_ok=True)
        # An overlay cannot be mounted on another overlay, which is the root file system of a container.
        file_system = capture(["stat", "--file-system", "--format=%T", self.storage])
        driver = "vfs" if "overlay" in file_system else "overlay"
        root, runroot = str(self.storage / driver), str(self.storage / f"{driver}-run")
        _run(["buildah", "--root", root, "--runroot", runroot, "--storage-driver", driver, command, *arguments])


@contextmanager
def _login(registry: RegistryClient) -> Iterator[Path]:
    """Yield a folder with the login of the registry: as arguments, all users of this computer could read it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        login = docker_config(registry.host, registry.username, registry.password)
        (folder / "config.json").write_text(login)
        if registry.ca:
            (folder / "certificates").mkdir()
            (folder / "certificates" / "ca.crt").write_text(registry.ca)
        yield folder


def _trust(folder: Path) -> list[str]:
    certificates = folder / "certificates"
    return [
        *("--authfile", str(folder / "config.json")),
        *(["--cert-dir", str(certificates)] if certificates.is_dir() else []),
    ]


def _run(command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> None:
    run_visible(command, log=cache_directory() / "logs" / "images.log", env=os.environ | (environment or {}))
