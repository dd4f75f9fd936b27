"""Settings for the deletion of old runs and model versions."""

from __future__ import annotations

from pydantic import Field, model_validator

from settings.types import Section


class KeepRuleSettings(Section):
    """Items to keep: those that are young enough, and the newest ones. Others are deleted."""

    days: int | None = Field(default=None, ge=1, le=36_500)
    """Age in days up to which an item is kept. Unset: the age alone keeps no item."""
    newest: int | None = Field(default=None, ge=1, le=1_000_000)
    """Number of the newest items that are kept at any age. Unset: the order alone keeps no item."""

    @model_validator(mode="after")
    def _check_rule(self) -> KeepRuleSettings:
        if self.days is None and self.newest is None:
            raise ValueError("write days, newest or both; without a rule, everything would be deleted")
        return self


class RetentionSettings(Section):
    """Rules for what accumulates, see [Deleting old runs](backup.md#delete-old-runs)."""

    runs: KeepRuleSettings | None = None
    """Runs of a pipeline, with their files. Unset: all runs are kept. Runs of kept versions, the last run of each
    pipeline and running ones are always kept."""
    versions: KeepRuleSettings | None = None
    """Versions of a model. Unset: all versions are kept. Versions with an alias, such as the champion, the canary and
    versions that a setting names are always kept."""

    @model_validator(mode="after")
    def _check_versions(self) -> RetentionSettings:
        if self.versions and self.runs is None:
            raise ValueError("versions needs runs: the files of a version are deleted with the run that registered it")
        return self
