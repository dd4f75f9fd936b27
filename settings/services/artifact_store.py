"""Settings of an S3 bucket for the files of runs and models."""

from __future__ import annotations

from pydantic import Field, SecretStr

from settings.types import Section


class ArtifactStoreSettings(Section):
    """An S3 bucket for artifacts."""

    url: str = Field(pattern=r"^s3://[a-z0-9.-]+(/.*)?$")
    """Bucket and path for models and other files of runs: `s3://bucket/path`."""
    access_key: str
    """Access key of the bucket."""
    secret_key: SecretStr
    """Secret key of the bucket."""
    endpoint_url: str | None = Field(default=None, pattern=r"^https?://")
    """Address of the store. Unset: Amazon S3."""
    region: str = "us-east-1"
    """Region of the bucket."""
