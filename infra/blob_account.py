"""An account of Azure Blob Storage that a stack has made for its data sets."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi


@dataclass(frozen=True)
class BlobAccount:
    """An account with one private container, which its key alone opens."""

    account_url: pulumi.Output[str]
    account_key: pulumi.Output[str]
    """Secret."""
    container: str
