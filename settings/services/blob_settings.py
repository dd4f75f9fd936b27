"""Settings of data for pipelines in Azure Blob Storage: the account, the shared container, and those of teams."""

from __future__ import annotations

from pydantic import Field, SecretStr, field_validator, model_validator

from settings.paths import PROJECT
from settings.types import ContainerName, Port, Section


class ContainerSettings(Section):
    """A container of a team, in the account of `platform:blobs`."""

    container: ContainerName
    """Name of the container, which no other team and not `platform:blobs` has."""
    upload: dict[str, str] = Field(default_factory=dict)
    """Files to upload: blob name to path of a file in this project. The first upload creates a missing container, which
    is private."""

    @field_validator("upload")
    @classmethod
    def _check_upload(cls, upload: dict[str, str]) -> dict[str, str]:
        for blob, file in upload.items():
            if not (PROJECT / file).is_file():
                raise ValueError(f"{blob}: there is no file {file} in the project")
        return upload


class BlobSettings(ContainerSettings):
    """Azure Blob Storage for the data of pipelines."""

    port: Port = 10000
    """Port of the emulator Azurite, which runs on this computer when `account_url` is unset."""
    account_url: str | None = Field(default=None, pattern=r"^https?://")
    """Address of a storage account. Set it together with `account_key`. Unset: the emulator."""
    account_key: SecretStr | None = None
    """Key of the storage account."""
    container: ContainerName = "datasets"
    """Name of the container, which all pipelines may read."""

    @model_validator(mode="after")
    def _check_account(self) -> BlobSettings:
        if (self.account_url is None) != (self.account_key is None):
            raise ValueError("account_url and account_key belong together: set both, or neither for the emulator")
        return self
