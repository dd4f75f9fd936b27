"""Programs that build a Dockerfile and push the image: Docker where its daemon answers, else buildah."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mlplatform.images.registry_client import RegistryClient

from infra.dynamic_provider import UserError

EPOCH = "1767225600"
"""The date of all files in our layers, 2026-01-01: the same files make the same layer."""


class Builder(Protocol):
    """Builds and pushes."""

    def build(self, context: Path, target: str, base: str | None, name: str, registry: RegistryClient) -> None:
        """Build a stage of the Dockerfile in a folder; `base` is its build argument BASE."""

    def push(self, name: str, reference: str, registry: RegistryClient) -> None:
        """Push the image `name` as `reference`."""


def builder(storage: Path) -> Builder:
    """What this computer builds with.

    Raises:
        UserError: there is nothing to build with; says what to install.
    """
    if shutil.which("docker") and subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0:
        return Docker()
    if shutil.which("buildah") is None:
        raise UserError(
            "images are built by Docker or buildah, and here is neither a Docker daemon that answers nor buildah; "
            "install one of them (Debian, Ubuntu: apt-get install buildah)"
        )
    if os.geteuid() != 0:
        raise UserError("buildah takes root here: run `pulumi` as root, or start a Docker daemon that you may use")
    return Buildah(storage)


class Docker:
    """The Docker command."""

    def build(self, context: Path, target: str, base: str | None, name: str, registry: RegistryClient) -> None:
        with _login(registry) as folder:
            arguments = ["--build-arg", f"BASE={base}"] if base else []
            environment = {"DOCKER_CONFIG": str(folder), "DOCKER_BUILDKIT": "1", "SOURCE_DATE_EPOCH": EPOCH}
            _run(["docker", "build", "--target", target, *arguments, "--tag", name, context], environment)

    def push(self, name: str, reference: str, registry: RegistryClient) -> None:
        _run(["docker", "tag", name, reference])
        with _login(registry) as folder:
            try:
                _run(["docker", "push", "--quiet", reference], {"DOCKER_CONFIG": str(folder)})
            except UserError as failure:
                address = registry.host.partition("/")[0]
                hint = f"\nThe daemon trusts the registry's certificate by /etc/docker/certs.d/{address}/ca.crt"
                raise UserError(f"{failure}{hint if registry.ca else ''}") from None
        _run(["docker", "rmi", reference])


@dataclass(frozen=True)
class Buildah:
    """buildah with a storage of its own, whose layers the next build starts from."""

    storage: Path

    def build(self, context: Path, target: str, base: str | None, name: str, registry: RegistryClient) -> None:
        arguments = ["--build-arg", f"BASE={base}"] if base else []
        options = ["--isolation", "chroot", "--format", "oci", "--timestamp", EPOCH, "--layers", "--pull"]
        with _login(registry) as folder:
            self._run("bud", *options, *_trust(folder), "--target", target, *arguments, "--tag", name, str(context))

    def push(self, name: str, reference: str, registry: RegistryClient) -> None:
        with _login(registry) as folder:
            self._run("push", *_trust(folder), name, f"docker://{reference}")

    def _run(self, command: str, *arguments: str) -> None:
        self.storage.mkdir(parents=True, exist_ok=True)
        # No overlay can be made of folders that are on one themselves, as in a container.
        on_overlay = (
            "overlay"
            in subprocess.run(
                ["stat", "--file-system", "--format=%T", self.storage], capture_output=True, text=True, check=True
            ).stdout
        )
        driver = "vfs" if on_overlay else "overlay"
        root, runroot = str(self.storage / driver), str(self.storage / f"{driver}-run")
        _run(["buildah", "--root", root, "--runroot", runroot, "--storage-driver", driver, command, *arguments])


@contextmanager
def _login(registry: RegistryClient) -> Iterator[Path]:
    """A folder with what opens the registry: arguments can be read by everybody on this computer."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        credentials = base64.b64encode(f"{registry.username}:{registry.password}".encode()).decode()
        auths = {registry.host.partition("/")[0]: {"auth": credentials}}
        (folder / "config.json").write_text(json.dumps({"auths": auths}))
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
    done = subprocess.run(
        command,
        env=os.environ | (environment or {}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        last = "\n".join(f"  {line}" for line in done.stdout.strip().splitlines()[-12:])
        words = next((str(word) for word in command if word in ("bud", "build", "push", "tag", "rmi")), "")
        raise UserError(f"`{command[0]} {words}` ended with code {done.returncode}:\n{last}")
