"""Pages of docs/reference that name tests: each test exists, and each requirement of a standard is listed once."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[3]
REFERENCE = TESTS.parent / "docs" / "reference"
TEST = re.compile(r"`([\w/]+\.py)::(\w+)(?:\[([^\]]+)\])?`")
ASVS_5_LEVELS_1_AND_2 = """
1.1.1-2 1.2.1-9 1.3.1-11 1.4.1-3 1.5.1-2 2.1.1-3 2.2.1-3 2.3.1-4 2.4.1 3.2.1-2 3.3.1-4 3.4.1-6 3.5.1-5 3.7.1-2
4.1.1-3 4.2.1 4.3.1-2 4.4.1-4 5.1.1 5.2.1-3 5.3.1-2 5.4.1-3 6.1.1-3 6.2.1-12 6.3.1-4 6.4.1-4 6.5.1-5 6.6.1-3 6.8.1-4
7.1.1-3 7.2.1-4 7.3.1-2 7.4.1-5 7.5.1-2 7.6.1-2 8.1.1-2 8.2.1-3 8.3.1 8.4.1 9.1.1-3 9.2.1-4 10.1.1-2 10.2.1-2
10.3.1-4 10.4.1-11 10.5.1-5 10.6.1-2 10.7.1-3 11.1.1-2 11.2.1-3 11.3.1-3 11.4.1-4 11.5.1 11.6.1 12.1.1-3 12.2.1-2
12.3.1-4 13.1.1 13.2.1-5 13.3.1-2 13.4.1-5 14.1.1-2 14.2.1-4 14.3.1-3 15.1.1-3 15.2.1-3 15.3.1-7 16.1.1 16.2.1-5
16.3.1-4 16.4.1-3 16.5.1-3 17.1.1 17.2.1-4 17.3.1-2
"""


@pytest.mark.parametrize("page", ["asvs.md", "attempts.md"])
def test_reference_page_names_tests_that_exist(page: str) -> None:
    named = TEST.findall((REFERENCE / page).read_text())
    assert len(named) > 20
    for file, name, parameter in named:
        source = (TESTS / file).read_text()
        assert f"def {name}(" in source, f"{file}::{name}"
        assert f'"{parameter}"' in source or not parameter, f"{file}::{name}[{parameter}]"


def test_page_of_attempts_has_all_that_the_tests_of_teams_try() -> None:
    source = (TESTS / "door" / "test_door_teams.py").read_text()
    tried = re.findall(r'^    "([^"]+)": lambda who', source, re.MULTILINE)
    assert tried == [
        parameter for _, _, parameter in TEST.findall((REFERENCE / "attempts.md").read_text()) if parameter
    ]


def test_list_of_asvs_has_each_requirement_of_levels_1_and_2_once() -> None:
    rows = re.findall(r"^\| ([\d., -]+) \|", (REFERENCE / "asvs.md").read_text(), re.MULTILINE)
    listed = [each for row in rows for each in expanded(row.replace(",", " "))]
    assert len(listed) == len(set(listed))
    assert set(listed) == set(expanded(ASVS_5_LEVELS_1_AND_2))


def expanded(text: str) -> list[str]:
    """Return the numbers of requirements, such as 1.2.1 and 1.2.2 for `1.2.1-2`."""
    numbers = []
    for word in text.split():
        section, _, last = word.rpartition(".")
        first, _, end = last.partition("-")
        numbers += [f"{section}.{number}" for number in range(int(first), int(end or first) + 1)]
    return numbers
