"""Fixtures and order of all tests."""

from __future__ import annotations

import pytest

LONGEST = ("tests/stack/test_stack.py", "tests/stack/test_migration.py")
"""Files that run for minutes. Started last, they would leave the other processes idle."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the longest files first."""
    items.sort(key=lambda item: not item.nodeid.startswith(LONGEST))
