"""The platform's own images, each built from its Dockerfile and kept in the private registry."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi
from mlplatform.images.builders import builder
from mlplatform.images.locked_packages import (
    MACHINE,
    PYTHON,
    LockedPackage,
    bill_of_materials,
    install,
    locked_packages,
)
from mlplatform.images.registry_client import RegistryClient, RegistryUnavailable
from pulumi.dynamic import CreateResult, DiffResult, ReadResult, Resource

from infra.dynamic_provider import DynamicProvider, UserError, any_changed
from infra.registry import ContainerRegistry
from settings.paths import PROJECT, cache_directory

IN_REGISTRY = "mlplatform"
"""The first part of our images' names."""
BASE_ARGUMENT = "ARG BASE="
OF_STEPS = ("workloads/__init__.py", "workloads/ml/**/*.py")
OF_RUNNER = tuple(f"workloads/engines/{name}.py" for name in ("__init__", "base", "kfp_runner", "pod_entrypoint"))


@dataclass(frozen=True)
class Recipe:
    """An image: a stage of the Dockerfile in a folder of this project, whose packages stand in requirements.txt there.

    `code` are patterns of the project's files that are in it.
    """

    name: str
    folder: str
    stage: str
    code: tuple[str, ...] = ()

    @property
    def directory(self) -> Path:
        return PROJECT / self.folder

    def files(self) -> list[Path]:
        return sorted({file for pattern in self.code for file in PROJECT.glob(pattern) if file.is_file()})

    def pins(self) -> list[LockedPackage]:
        return locked_packages(self.directory / "requirements.txt")

    def tag(self) -> str:
        """Names all that goes into it; a preview says by it whether there will be another image."""
        found = hashlib.sha256(f"{self.stage} {PYTHON} {MACHINE}\n".encode())
        found.update((self.directory / "Dockerfile").read_bytes())
        found.update("\n".join(pin.requirement for pin in self.pins()).encode())
        for file in self.files():
            found.update(f"\n{file.relative_to(PROJECT)}\n".encode() + file.read_bytes())
        return found.hexdigest()[:16]

    def base(self) -> str:
        """The image that the Dockerfile starts from where no other is given to it."""
        lines = (self.directory / "Dockerfile").read_text().splitlines()
        return next(line.removeprefix(BASE_ARGUMENT) for line in lines if line.startswith(BASE_ARGUMENT))


LIBRARIES = Recipe("python-libraries", "workloads", "libraries")
WORKLOADS = Recipe("python-workloads", "workloads", "code", (*OF_STEPS, *OF_RUNNER))
MODEL_SERVER = Recipe("model-server", "model_server", "code", ("model_server/**/*.py", "model_server/http/templates/*"))
RECIPES = {recipe.name: recipe for recipe in (LIBRARIES, WORKLOADS, MODEL_SERVER)}


class _ImageProvider(DynamicProvider):
    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        return DiffResult(changes=any_changed(_olds, _news, ("recipe", "tag", "host")))

    def create(self, props: dict[str, Any]) -> CreateResult:
        return CreateResult(f"{props['recipe']}:{props['tag']}", props | _published(props))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """An image that was removed from the registry is gone; a registry that is down is no reason to build anew."""
        try:
            there = _remote(props).digest(f"{IN_REGISTRY}/{props['recipe']}", props["tag"])
        except RegistryUnavailable as error:
            pulumi.log.warn(f"{props['recipe']}: the registry was not looked at: {error}")
            return ReadResult(id_, props)
        return ReadResult(id_, props) if there else ReadResult("", {})


class Image(Resource, module="platform", name="Image"):
    """An image in the private registry, built only if it is not there yet under the tag of its content.

    It stays in the registry when it is deleted from the stack: other stacks may use it.

    Outputs:
        reference: `<registry>/mlplatform/<name>@sha256:...`.

    Raises (as a failed resource):
        UserError: it could not be built or pushed, with the last lines of what the builder said.
    """

    reference: pulumi.Output[str]

    def __init__(self, recipe: Recipe, registry: ContainerRegistry, opts: pulumi.ResourceOptions | None = None) -> None:
        props = {
            "recipe": recipe.name,
            "tag": recipe.tag(),
            "host": registry.host,
            "username": registry.pushes.username,
            "password": registry.pushes.password,
            "ca": registry.ca,
            "served": registry.served,
            "reference": None,
        }
        waits = pulumi.ResourceOptions(depends_on=registry.depends_on)
        super().__init__(_ImageProvider(), f"{recipe.name}-image", props, pulumi.ResourceOptions.merge(waits, opts))


def _published(props: dict[str, Any]) -> dict[str, Any]:
    """See to it that the registry has the image."""
    remote, recipe = _remote(props), RECIPES[props["recipe"]]
    if recipe.tag() != props["tag"]:
        raise UserError(f"{recipe.folder}/: a file was changed while `pulumi` was at work; run it again")
    name = f"{IN_REGISTRY}/{recipe.name}"
    digest = remote.digest(name, props["tag"]) or _built(recipe, remote, f"{name}:{props['tag']}", props["served"])
    return {"reference": f"{props['host']}/{name}@{digest}"}


def _built(recipe: Recipe, remote: RegistryClient, image: str, served: bool) -> str:
    """Build the image and push it; returns its digest. One at a time: they share layers, and the processor."""
    folder = cache_directory() / "images"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        program = builder(folder / "buildah")
        program.build(_context(recipe, folder), recipe.stage, _mirrored(recipe.base(), remote), recipe.name, remote)
        with _taking_pushes(remote, served) as target:
            program.push(recipe.name, f"{target.host}/{image}", target)
    name, _, tag = image.partition(":")
    digest = remote.digest(name, tag)
    if digest is None:
        raise UserError(f"the registry took {image}, and does not have it")
    return digest


@contextmanager
def _taking_pushes(remote: RegistryClient, served: bool) -> Iterator[RegistryClient]:
    """Where images get into a registry: one that this computer serves takes none where machines reach it."""
    if not served:
        yield remote
        return
    from airgap.bundle.errors import BundleError
    from airgap.bundle.registry import bundle_registry
    from airgap.bundle.store import Store

    try:
        with bundle_registry.writable(Store.default()) as own:
            yield RegistryClient(own.host, *own.login, own.ca)
    except BundleError as error:
        raise UserError(f"pushing to the registry {remote.host}: {error}") from None


def _context(recipe: Recipe, folder: Path) -> Path:
    """Lay out what the Dockerfile copies; the packages stay there for the next build as long as they are the same."""
    context, pins = folder / recipe.folder, recipe.pins()
    bill = bill_of_materials(recipe.folder, pins)
    packages, record = context / "packages", context / "sbom.cdx.json"
    if not record.is_file() or record.read_text() != bill:
        shutil.rmtree(context, ignore_errors=True)
        install(pins, packages)
        record.write_text(bill)
    code = context / "code"
    shutil.rmtree(code, ignore_errors=True)
    for file in recipe.files():
        target = code / file.relative_to(PROJECT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    shutil.copyfile(recipe.directory / "Dockerfile", context / "Dockerfile")
    return context


def _mirrored(base: str, remote: RegistryClient) -> str | None:
    """The private registry's own copy of a base image, None where it has none: then it comes from upstream."""
    repository, _, tag = base.rpartition(":")
    return f"{remote.host}/{base}" if remote.digest(repository, tag) else None


def _remote(props: dict[str, Any]) -> RegistryClient:
    return RegistryClient(props["host"], props["username"], props["password"], props["ca"])
