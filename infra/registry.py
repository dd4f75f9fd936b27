"""The private registry: the company's own, or the bundle's, which this computer serves to the machines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, ReadResult, Resource
from pydantic import SecretStr

from infra.dynamic_provider import DynamicProvider, UserError, any_changed
from settings.platform import RegistrySettings


@dataclass(frozen=True)
class RegistryLogin:
    """Who shows which password, which is secret."""

    username: pulumi.Output[str]
    password: pulumi.Output[str]


@dataclass(frozen=True)
class ContainerRegistry:
    """A registry as nodes, pods and builds see it.

    `host` is what names of images begin with: `address:port`, followed by a project where the registry has some.
    `password` is secret. `ca` is its certificate authority in PEM format, "" where a public one signed its certificate.
    `builder` is who pushes images to it, where `username` may do nothing but pull. One that is `served` by this
    computer, out of the bundle's images, takes none from anybody: they come in by
    `airgap.bundle.registry.bundle_registry.writable`.
    """

    host: pulumi.Output[str]
    username: pulumi.Output[str]
    password: pulumi.Output[str]
    ca: pulumi.Output[str]
    depends_on: Sequence[pulumi.Resource] = field(default_factory=tuple)
    builder: RegistryLogin | None = None
    served: bool = False

    @property
    def pushes(self) -> RegistryLogin:
        """The login that images are pushed with."""
        return self.builder or RegistryLogin(self.username, self.password)


def container_registry(
    settings: RegistrySettings, address: str | None, directory: Path, depends_on: Sequence[pulumi.Resource]
) -> ContainerRegistry:
    """The registry of the settings; without one, the bundle's, served at `address` once `depends_on` is there.

    Its settings and password lie below `directory`.

    Raises:
        SettingsError: neither of them is told.
    """
    if settings.url and settings.username and settings.password:
        ca = Path(settings.ca_file).expanduser().read_text() if settings.ca_file else ""
        pulls = _login(settings.username, settings.password)
        return ContainerRegistry(
            host=pulumi.Output.from_input(settings.url.removeprefix("https://")),
            username=pulls.username,
            password=pulls.password,
            ca=pulumi.Output.from_input(ca),
            builder=_login(settings.builder.username, settings.builder.password) if settings.builder else None,
        )
    if (served_at := settings.address or address) is None:
        raise pulumi.RunError(
            "platform:registry: set url, username and password of your own registry, or address, where this computer "
            "serves the bundle's one to the machines"
        )
    served = BundleRegistry(
        "registry",
        address=served_at,
        port=settings.port,
        folder=directory / "registry",
        opts=pulumi.ResourceOptions(depends_on=list(depends_on)),
    )
    return ContainerRegistry(served.host, served.username, served.password, served.ca, depends_on=[served], served=True)


def _login(username: str, password: SecretStr) -> RegistryLogin:
    return RegistryLogin(pulumi.Output.from_input(username), pulumi.Output.secret(password.get_secret_value()))


class _BundleRegistryProvider(DynamicProvider):
    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        moved = any_changed(_olds, _news, ("address", "port", "read_only"))
        return DiffResult(changes=moved or not _olds["running"] or _olds["bundle"] != _bundle())

    def create(self, props: dict[str, Any]) -> CreateResult:
        return CreateResult("registry", props | _served(props))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        from airgap.bundle.registry import bundle_registry

        return ReadResult(id_, props | {"running": bundle_registry.is_running(Path(props["folder"]))})

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        import shutil

        from airgap.bundle.registry import bundle_registry

        bundle_registry.stop(Path(_props["folder"]))
        shutil.rmtree(_props["folder"], ignore_errors=True)


class BundleRegistry(Resource, module="infra", name="BundleRegistry"):
    """The registry that `make bundle` fills, served by this computer at `https://address:port`, to pull from.

    One that a refresh finds dead is started again by the next `up`, and so is what the bundle has anew pushed to it.

    Raises (as a failed resource):
        UserError: there is no bundle, or the port is taken.
    """

    host: pulumi.Output[str]
    username: pulumi.Output[str]
    password: pulumi.Output[str]
    ca: pulumi.Output[str]

    def __init__(
        self, name: str, *, address: str, port: int, folder: Path, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        secret = pulumi.ResourceOptions(additional_secret_outputs=["password"])
        made = dict.fromkeys(("host", "username", "password", "ca", "bundle", "running"))
        props = {"address": address, "port": port, "folder": str(folder), "read_only": True, **made}
        super().__init__(_BundleRegistryProvider(), name, props, pulumi.ResourceOptions.merge(secret, opts))


def _served(props: dict[str, Any]) -> dict[str, Any]:
    from airgap.bundle import index
    from airgap.bundle.registry import bundle_registry
    from airgap.bundle.registry.push import push
    from airgap.bundle.sources import load
    from airgap.bundle.store import Store
    from tools.bootstrap.console import BootstrapError

    store, host = Store.default(), f"{props['address']}:{int(props['port'])}"
    bundle = _bundle()
    if not bundle:
        raise UserError(
            "platform:registry: there is no bundle yet to serve to the machines: run `make bundle` first, or set the "
            "url, username and password of a registry that has the images"
        )
    try:
        if names := index.missing_images(load(), store):
            raise UserError(f"platform:registry: the bundle lacks {', '.join(names)}: run `make bundle`")
        own = bundle_registry.start(
            store, props["address"], int(props["port"]), [], Path(props["folder"]), read_only=props["read_only"]
        )
        with bundle_registry.writable(store) as target:
            push(store, target.host, target.authfile, target.certificates)
    except BootstrapError as error:
        raise UserError(f"platform:registry: {error}") from None
    username, password = own.login
    return {"host": host, "username": username, "password": password, "ca": own.ca, "bundle": bundle, "running": True}


def _bundle() -> str:
    """A digest of the bundle's images, "" where there is none yet."""
    import hashlib

    from airgap.bundle.index import INDEX
    from airgap.bundle.store import Store

    try:
        images = json.loads((Store.default().root / INDEX).read_text())["images"]
    except FileNotFoundError:
        return ""
    return hashlib.sha256(json.dumps(images, sort_keys=True).encode()).hexdigest()
