"""For all tests."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def stack_traces() -> Iterator[None]:
    """A `Failure` of a provider shortens stack traces for the whole process, and Pulumi's resources read their own."""
    yield
    if hasattr(sys, "tracebacklimit"):
        del sys.tracebacklimit
