"""Settings of backups: where they are stored, and which of them are kept."""

from __future__ import annotations

import re

from pydantic import Field, SecretStr, field_validator, model_validator

from settings.pipelines.cron import Schedule
from settings.types import Section

TARGET = re.compile(r"/.+|sftp://[^/]+/.+|sftp:[^/:]+:.+|s3:https?://[^/]+/.+")
"""Addresses of restic's repositories that this program supports."""
TARGET_FORMS = "/folder, sftp:user@host:/path or s3:https://host/bucket/path"


class SnapshotRetentionSettings(Section):
    """Backups to keep. A backup that one of the rules names is kept; others are deleted after each new backup."""

    last: int = Field(default=3, ge=1, le=10_000)
    """Number of the newest backups."""
    daily: int = Field(default=7, ge=0, le=10_000)
    """Number of days whose newest backup is kept."""
    weekly: int = Field(default=4, ge=0, le=10_000)
    """Number of weeks whose newest backup is kept."""
    monthly: int = Field(default=12, ge=0, le=10_000)
    """Number of months whose newest backup is kept."""


class BackupSettings(Section):
    """Encrypted copies of the stack's data and state, see [Backups](backup.md)."""

    target: str
    """Folder, `sftp:user@host:/path` or `s3:https://host/bucket/path`. It holds a repository of restic, which is
    created if it does not exist. Several stacks may share it."""
    password: SecretStr = Field(min_length=8)
    """Password that encrypts the backups. Keep a copy outside this computer: without it, the backups are lost."""
    access_key: str | None = None
    """Access key of an S3 target. Set it together with `secret_key`."""
    secret_key: SecretStr | None = None
    """Secret key of an S3 target."""
    keep: SnapshotRetentionSettings = SnapshotRetentionSettings()
    """Backups to keep."""
    schedule: Schedule | None = None
    """Times of `make backup` on this computer: five fields of cron in its time zone, such as `30 2 * * *`. `make up`
    writes them into your crontab. Unset: no backup runs by itself."""

    @field_validator("target")
    @classmethod
    def _check_target(cls, target: str) -> str:
        if not TARGET.fullmatch(target):
            raise ValueError(f"write {TARGET_FORMS}")
        return target

    @field_validator("schedule")
    @classmethod
    def _check_schedule(cls, schedule: str | None) -> str | None:
        """Return five fields: cron has none for seconds."""
        if schedule is None:
            return None
        seconds, _, fields = schedule.partition(" ")
        if seconds != "0":
            raise ValueError(f"write five fields: cron starts nothing at the seconds {seconds}")
        if alone := re.search(r"(?<![-\d])\d+/\d+", fields):
            raise ValueError(f"{alone[0]}: cron takes a step of * or of a range only, as in */15 or 5-59/15")
        return fields

    @model_validator(mode="after")
    def _check_keys(self) -> BackupSettings:
        if (self.access_key is None) != (self.secret_key is None):
            raise ValueError("access_key and secret_key belong together: set both, or neither")
        if self.access_key and not self.target.startswith("s3:"):
            raise ValueError(f"access_key: the target {self.target} is not an S3 address; remove the keys")
        return self
