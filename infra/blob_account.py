"""An account of Azure Blob Storage that a stack creates for its data sets."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi


@dataclass(frozen=True)
class BlobAccount:
    """An account with one private container. Access requires the account's key."""

    account_url: pulumi.Output[str]
    account_key: pulumi.Output[str]
    """Secret."""
    container: str
