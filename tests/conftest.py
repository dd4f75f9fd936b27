"""For all tests."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

LONGEST = ("tests/stack/test_stack.py", "tests/stack/test_migration.py")
"""One of these begun last would keep one process for minutes that the others have nothing to do in."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first."""
    items.sort(key=lambda item: not item.nodeid.startswith(LONGEST))


@pytest.fixture(autouse=True)
def stack_traces() -> Iterator[None]:
    """A `Failure` of a provider shortens stack traces for the whole process, and Pulumi's resources read their own."""
    yield
    if hasattr(sys, "tracebacklimit"):
        del sys.tracebacklimit
