"""Fixtures and order of all tests."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

LONGEST = ("tests/stack/test_stack.py", "tests/stack/test_migration.py")
"""Files that run for minutes. Started last, they would leave the other processes idle."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the longest files first."""
    items.sort(key=lambda item: not item.nodeid.startswith(LONGEST))


@pytest.fixture(autouse=True)
def stack_traces() -> Iterator[None]:
    """Restore `sys.tracebacklimit`, which a `UserError` sets for the whole process."""
    yield
    if hasattr(sys, "tracebacklimit"):
        del sys.tracebacklimit
