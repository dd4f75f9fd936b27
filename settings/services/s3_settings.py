"""Settings of S3 stores: of MinIO, Ceph, SeaweedFS, Amazon and others."""

from __future__ import annotations

from pydantic import Field, SecretStr, field_validator

from settings.types import ExistingFile, Section


class S3Login(Section):
    """Address and keys of an S3 store."""

    access_key: str = Field(min_length=1)
    """Access key."""
    secret_key: SecretStr
    """Secret key."""
    endpoint_url: str | None = Field(default=None, pattern=r"^https?://[^/]")
    """Address of the store. Unset: Amazon S3."""
    region: str = Field(default="us-east-1", min_length=1)
    """Region of the buckets."""

    @field_validator("secret_key")
    @classmethod
    def _check_secret_key(cls, key: SecretStr) -> SecretStr:
        if not key.get_secret_value():
            raise ValueError("is empty")
        return key


class ArtifactStoreSettings(S3Login):
    """An S3 bucket for artifacts."""

    url: str = Field(pattern=r"^s3://[a-z0-9.-]+(/.*)?$")
    """Bucket and path for models and other files of runs: `s3://bucket/path`."""


class DataStoreSettings(S3Login):
    """An S3 store with data of pipelines. Its policies decide which buckets the keys read and write."""

    ca_file: ExistingFile | None = None
    """File with the certificate authority of the store, in PEM format. Unset: a public authority."""
