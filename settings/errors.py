"""Errors of the settings."""

from __future__ import annotations

import pulumi


class SettingsError(pulumi.RunError):
    """An error for invalid settings; its message has one line for each fault."""
