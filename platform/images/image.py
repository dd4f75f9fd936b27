"""The platform's own images: built from the Dockerfile beside this module and pushed to the private registry."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Sequence
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
    install_packages,
    locked_packages,
)
from mlplatform.images.registry_client import RegistryClient, RegistryUnavailable
from pulumi.dynamic import CreateResult, DiffResult, ReadResult, Resource, UpdateResult

from infra.dynamic_provider import DynamicProvider, UserError, any_changed
from infra.registry import ContainerRegistry
from settings.paths import PROJECT, cache_directory
from tools.bootstrap.environment import NPM_LOCK, install_npm_packages
from tools.bootstrap.file_lock import file_lock

REPOSITORY_PREFIX = "mlplatform"
"""The first part of the names of our images."""
DOCKERFILE = Path(__file__).with_name("Dockerfile")
BASE_ARGUMENT = "ARG BASE="
STEP_FILES = (
    *(f"settings/{name}.py" for name in ("__init__", "metrics", "types", "pipelines/__init__", "pipelines/tuning")),
    *("workloads/__init__.py", "workloads/ml/**/*.py"),
)
RUNNER_FILES = tuple(
    f"workloads/engines/{name}.py"
    for name in (
        "__init__",
        "base",
        "kfp_runner",
        "pod_dask",
        "pod_dask_worker",
        "pod_entrypoint",
        "pod_loops",
        "dag/*",
    )
)
_RUNS = ("__init__", "arguments", "compile", "origin", "pipeline_package", "pipeline_sources", "recorded_run")
_INFRA = ("__init__", "blob_account", "dynamic_provider", "errors", "resource_status", "retry", "local/*")
NOTEBOOK_FILES = (
    *(f"workloads/{name}" for name in ("mlflow_session.py", "notebook.py", "pipelines/*.py", "data/*")),
    "workloads/requirements.txt",
    *("workloads/components/**/*.py", "workloads/components/compiled/*.yaml"),
    *(f"workloads/engines/{name}.py" for name in ("local_engine", "step_progress")),
    *(f"workloads/runs/{name}.py" for name in _RUNS),
    *(f"platform/{name}.py" for name in ("blob_store", "blob_token", "engine_config", "tracking_access")),
    *(f"infra/{name}.py" for name in (*_INFRA, "kubernetes_client/__init__", "kubernetes_client/port_forward")),
    *("settings/**/*.py", "settings/versions.toml", "tools/__init__.py", "tools/bootstrap/*.py"),
    *("airgap/__init__.py", "airgap/bundle/__init__.py", "airgap/bundle/durations.py", "examples/notebooks/*.ipynb"),
)
IMPORT_NAMES = {"platform": "mlplatform"}
"""Names under which folders of the project are imported."""


@dataclass(frozen=True)
class Recipe:
    """The sources of an image: a stage of the Dockerfile, and requirements.txt in a folder of this project.

    `code` are glob patterns, from the project's folder, of the files to copy into the image. `further` is a folder with
    requirements.txt and a package-lock.json of npm: packages beside those of the first folder.
    """

    name: str
    folder: str
    stage: str
    code: tuple[str, ...] = ()
    further: str = ""

    def files(self) -> list[Path]:
        """Return the files that `code` matches."""
        return sorted({file for pattern in self.code for file in PROJECT.glob(pattern) if file.is_file()})

    def packages(self) -> list[LockedPackage]:
        """Return the Python packages of the image at the versions of uv.lock."""
        return locked_packages(PROJECT / self.folder / "requirements.txt")

    def further_packages(self) -> list[LockedPackage]:
        """Return the Python packages that only the folder `further` requires."""
        present = set(self.packages())
        return [each for each in locked_packages(PROJECT / self.further / "requirements.txt") if each not in present]

    def tag(self) -> str:
        """Return a digest of all inputs of the image; a preview shows by it whether the image changes."""
        digest = hashlib.sha256(f"{self.stage} {PYTHON} {MACHINE}\n".encode())
        digest.update(DOCKERFILE.read_bytes())
        packages = [*self.packages(), *(self.further_packages() if self.further else [])]
        digest.update("\n".join(package.requirement for package in packages).encode())
        digest.update((PROJECT / self.further / NPM_LOCK).read_bytes() if self.further else b"")
        for file in self.files():
            digest.update(f"\n{file.relative_to(PROJECT)}\n".encode() + file.read_bytes())
        return digest.hexdigest()[:16]


LIBRARIES = Recipe("python-libraries", "workloads", "libraries")
WORKLOADS = Recipe("python-workloads", "workloads", "workloads", (*STEP_FILES, *RUNNER_FILES))
MODEL_SERVER = Recipe(
    "model-server", "model_server", "model-server", ("model_server/**/*.py", "model_server/http/templates/*")
)
NOTEBOOKS = Recipe(
    "notebooks", "workloads", "notebooks", (*STEP_FILES, *RUNNER_FILES, *NOTEBOOK_FILES), "platform/notebooks/image"
)
RECIPES = {recipe.name: recipe for recipe in (LIBRARIES, WORKLOADS, MODEL_SERVER, NOTEBOOKS)}


class _ImageProvider(DynamicProvider):
    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        return DiffResult(changes=any_changed(_olds, _news, ("recipe", "tag", "host")))

    def create(self, props: dict[str, Any]) -> CreateResult:
        return CreateResult(f"{props['recipe']}:{props['tag']}", props | _publish(props))

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        return UpdateResult(self.create(_news).outs)

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """Report the image as deleted if the registry lacks it; keep the state if the registry is unavailable."""
        try:
            digest = _client(props).digest(f"{REPOSITORY_PREFIX}/{props['recipe']}", props["tag"])
        except RegistryUnavailable as error:
            pulumi.log.warn(f"{props['recipe']}: the registry was not checked: {error}")
            return ReadResult(id_, props)
        return ReadResult(id_, props) if digest else ReadResult("", {})


class Image(Resource, module="platform", name="Image"):
    """An image in the private registry, built only if the registry has no image with the tag of its content.

    Deleting this resource leaves the image in the registry, because other stacks may use it.

    Outputs:
        reference: `<registry>/mlplatform/<name>@sha256:...`.

    Raises (as a failed resource):
        UserError: building or pushing failed; the text has the last lines of the builder's output.
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
        options = pulumi.ResourceOptions.merge(pulumi.ResourceOptions(depends_on=registry.depends_on), opts)
        super().__init__(_ImageProvider(), f"{recipe.name}-image", props, options)


def _publish(props: dict[str, Any]) -> dict[str, Any]:
    """Ensure that the registry has the image; return the output `reference`."""
    client, recipe = _client(props), RECIPES[props["recipe"]]
    if recipe.tag() != props["tag"]:
        raise UserError(f"{recipe.folder}/: a file changed while `pulumi` was running; run it again")
    name = f"{REPOSITORY_PREFIX}/{recipe.name}"
    digest = client.digest(name, props["tag"]) or _build(recipe, client, f"{name}:{props['tag']}", props["served"])
    return {"reference": f"{props['host']}/{name}@{digest}"}


def _build(recipe: Recipe, client: RegistryClient, image: str, served: bool) -> str:
    """Build and push the image; return its digest. A lock serializes builds, which share layers and the processor."""
    folder = cache_directory() / "images"
    with file_lock(folder / "lock", "Another stack builds images."):
        program = builder(folder / "buildah")
        base = _mirrored_base(client)
        program.build(_context(recipe, folder), recipe.stage, base, recipe.name, client)
        with _writable_registry(client, served) as target:
            program.push(recipe.name, f"{target.host}/{image}", target)
    name, _, tag = image.partition(":")
    digest = client.digest(name, tag)
    if digest is None:
        raise UserError(f"pushed {image}, but the registry returns 404 for it; check its storage and proxy")
    return digest


@contextmanager
def _writable_registry(client: RegistryClient, served: bool) -> Iterator[RegistryClient]:
    """Yield a client that can push: a registry served by this computer is read-only at its public address."""
    if not served:
        yield client
        return
    from airgap.bundle.registry import bundle_registry
    from airgap.bundle.store import Store
    from tools.bootstrap.console import SetupError

    try:
        with bundle_registry.writable(Store.default()) as writable:
            yield RegistryClient(writable.host, *writable.login, writable.ca)
    except SetupError as error:
        raise UserError(f"pushing to the registry {client.host} failed: {error}") from None


def _context(recipe: Recipe, folder: Path) -> Path:
    """Write the build context, and return its folder. Unchanged packages remain for the next build."""
    context = folder / recipe.folder
    _lay_out_packages(context, recipe.folder, recipe.packages())
    if recipe.further:
        _lay_out_packages(context / "further", recipe.further, recipe.further_packages())
        install_npm_packages(PROJECT / recipe.further, context / "further", cache_directory() / "logs" / "images.log")
    code = context / "code"
    shutil.rmtree(code, ignore_errors=True)
    for file in recipe.files():
        top, *rest = file.relative_to(PROJECT).parts
        target = code.joinpath(IMPORT_NAMES.get(top, top), *rest)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    shutil.copyfile(DOCKERFILE, context / "Dockerfile")
    return context


def _lay_out_packages(folder: Path, name: str, packages: Sequence[LockedPackage]) -> None:
    """Install the packages into `folder`, beside their bill of materials, unless it has them already."""
    bill, record = bill_of_materials(name, packages), folder / "sbom.cdx.json"
    if not record.is_file() or record.read_text() != bill:
        shutil.rmtree(folder, ignore_errors=True)
        install_packages(packages, folder / "packages")
        record.write_text(bill)


def _base_image() -> str:
    """Return the default base image of the Dockerfile."""
    lines = DOCKERFILE.read_text().splitlines()
    return next(line.removeprefix(BASE_ARGUMENT) for line in lines if line.startswith(BASE_ARGUMENT))


def _mirrored_base(client: RegistryClient) -> str | None:
    """Return the private registry's copy of the base image, or None if the build pulls it from upstream."""
    base = _base_image()
    repository, _, tag = base.rpartition(":")
    digest = client.digest(repository, tag)
    return f"{client.host}/{repository}@{digest}" if digest else None


def _client(props: dict[str, Any]) -> RegistryClient:
    return RegistryClient(props["host"], props["username"], props["password"], props["ca"])
