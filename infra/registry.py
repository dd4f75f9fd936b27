"""The private container registry: an existing one, or the bundle's, which this computer serves to the machines."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, ReadResult, Resource, UpdateResult
from pydantic import SecretStr

from infra.dynamic_provider import DynamicProvider, UserError, any_changed
from settings.platform import RegistrySettings


@dataclass(frozen=True)
class RegistryLogin:
    """User name and password of a registry. The password is secret."""

    username: pulumi.Output[str]
    password: pulumi.Output[str]


@dataclass(frozen=True)
class ContainerRegistry:
    """Address and credentials of a registry, for nodes, pods and image builds.

    `host` is the prefix of image names: `address:port`, followed by a project if the registry has projects.
    `password` is secret. `ca` is the certificate authority in PEM format, "" if a public one signed the certificate.
    `builder` is the login that pushes images, if `username` may only pull. A registry that is `served` by this computer
    from the bundle's images is read-only; `airgap.bundle.registry.bundle_registry.writable` adds images to it. Its
    certificate is valid until `certificate_expires`, in seconds since 1970.
    """

    host: pulumi.Output[str]
    username: pulumi.Output[str]
    password: pulumi.Output[str]
    ca: pulumi.Output[str]
    depends_on: Sequence[pulumi.Resource] = field(default_factory=tuple)
    builder: RegistryLogin | None = None
    served: bool = False
    certificate_expires: pulumi.Output[float] | None = None

    @property
    def pushes(self) -> RegistryLogin:
        """The login that may push images."""
        return self.builder or RegistryLogin(self.username, self.password)


def container_registry(
    settings: RegistrySettings, address: str | None, directory: Path, depends_on: Sequence[pulumi.Resource]
) -> ContainerRegistry:
    """Return the registry of the settings, or serve the bundle's registry if the settings have none.

    Args:
        settings: of the registry.
        address: this computer's address for the bundle's registry, unless the settings have one.
        directory: folder for the configuration and password of the bundle's registry.
        depends_on: resources that the bundle's registry waits for.

    Raises:
        RunError: the settings have no registry, and there is no address for the bundle's registry.
    """
    if settings.url and settings.username and settings.password:
        ca = Path(settings.ca_file).expanduser().read_text() if settings.ca_file else ""
        pull_login = _login(settings.username, settings.password)
        return ContainerRegistry(
            host=pulumi.Output.from_input(settings.url.removeprefix("https://")),
            username=pull_login.username,
            password=pull_login.password,
            ca=pulumi.Output.from_input(ca),
            builder=_login(settings.builder.username, settings.builder.password) if settings.builder else None,
        )
    if (serve_address := settings.address or address) is None:
        raise pulumi.RunError(
            "platform:registry: set url, username and password of an existing registry, or the address at which this "
            "computer serves the bundle's registry to the machines"
        )
    bundle_registry = BundleRegistry(
        "registry",
        address=serve_address,
        port=settings.port,
        folder=directory / "registry",
        opts=pulumi.ResourceOptions(depends_on=list(depends_on)),
    )
    return ContainerRegistry(
        host=bundle_registry.host,
        username=bundle_registry.username,
        password=bundle_registry.password,
        ca=bundle_registry.ca,
        depends_on=[bundle_registry],
        served=True,
        certificate_expires=bundle_registry.certificate_expires,
    )


def _login(username: str, password: SecretStr) -> RegistryLogin:
    return RegistryLogin(pulumi.Output.from_input(username), pulumi.Output.secret(password.get_secret_value()))


class _BundleRegistryProvider(DynamicProvider):
    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        """Update a registry that is down, moved, lacks images of the bundle, or whose certificate expires soon."""
        from airgap.bundle.registry import certificates

        moved = any_changed(_olds, _news, ("address", "port", "read_only"))
        outdated = _olds["bundle"] != _bundle_digest() or certificates.renewal_is_due(Path(_news["folder"]))
        # An older program did not record the expiry.
        known = _olds.get("certificate_expires")
        return DiffResult(changes=moved or outdated or not _olds["running"] or not known)

    def create(self, props: dict[str, Any]) -> CreateResult:
        return CreateResult("registry", props | _serve(props))

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        return UpdateResult(_news | _serve(_news))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        from airgap.bundle.registry import bundle_registry

        return ReadResult(id_, props | {"running": bundle_registry.is_running(Path(props["folder"]))})

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        import shutil

        from airgap.bundle.registry import bundle_registry

        bundle_registry.stop(Path(_props["folder"]))
        shutil.rmtree(_props["folder"], ignore_errors=True)


class BundleRegistry(Resource, module="infra", name="BundleRegistry"):
    """A read-only registry of the bundle's images, served by this computer at `https://address:port`.

    After a refresh has found it down, the next `up` starts it. Each `up` also pushes images that are new in the bundle,
    and renews the certificate in its last 30 days. `certificate_expires` is in seconds since 1970.

    Raises (as a failed resource):
        UserError: the bundle does not exist, or the port is taken.
    """

    host: pulumi.Output[str]
    username: pulumi.Output[str]
    password: pulumi.Output[str]
    ca: pulumi.Output[str]
    certificate_expires: pulumi.Output[float]

    def __init__(
        self, name: str, *, address: str, port: int, folder: Path, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        secret = pulumi.ResourceOptions(additional_secret_outputs=["password"])
        outputs = dict.fromkeys(("host", "username", "password", "ca", "bundle", "running", "certificate_expires"))
        props = {"address": address, "port": port, "folder": str(folder), "read_only": True, **outputs}
        super().__init__(_BundleRegistryProvider(), name, props, pulumi.ResourceOptions.merge(secret, opts))


def _serve(props: dict[str, Any]) -> dict[str, Any]:
    """Start the registry, push the bundle's images to it, and return its outputs."""
    from airgap.bundle import index
    from airgap.bundle.registry import bundle_registry
    from airgap.bundle.registry.push import push
    from airgap.bundle.source_table import load_sources
    from airgap.bundle.store import Store
    from tools.bootstrap.console import SetupError

    store, host = Store.default(), f"{props['address']}:{int(props['port'])}"
    bundle = _bundle_digest()
    if not bundle:
        raise UserError(
            "platform:registry: no bundle exists yet: run `make bundle` first, or set the url, username and password "
            "of a registry that has the images"
        )
    try:
        if names := index.missing_images(load_sources(), store):
            raise UserError(f"platform:registry: the bundle lacks {', '.join(names)}: run `make bundle`")
        server = bundle_registry.start(
            store, props["address"], int(props["port"]), [], Path(props["folder"]), read_only=props["read_only"]
        )
        with bundle_registry.writable(store) as target:
            push(store, target.host, target.authfile, target.certificates)
    except SetupError as error:
        raise UserError(f"platform:registry: {error}") from None
    username, password = server.login
    return {
        "host": host,
        "username": username,
        "password": password,
        "ca": server.ca,
        "bundle": bundle,
        "running": True,
        "certificate_expires": server.certificate_expires,
    }


def _bundle_digest() -> str:
    """Return a digest of the bundle's images, "" without a bundle."""
    import hashlib

    from airgap.bundle.index import INDEX
    from airgap.bundle.store import Store

    try:
        images = json.loads((Store.default().root / INDEX).read_text())["images"]
    except FileNotFoundError:
        return ""
    return hashlib.sha256(json.dumps(images, sort_keys=True).encode()).hexdigest()


def docker_config(registry: str, username: str, password: str) -> str:
    """Return the configuration file that `docker login` writes; Docker, buildah and Kubernetes read it.

    Args:
        registry: host name and port of the registry; a path behind them is ignored.
        username: the user.
        password: the password.
    """
    login = base64.b64encode(f"{username}:{password}".encode()).decode()
    return json.dumps({"auths": {registry.partition("/")[0]: {"auth": login}}})
