"""Settings of columns that errors suggest: each is YAML that the parameter `columns` takes, whatever the name is."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from typing import Any

import pytest
import yaml

from workloads.ml.data.scan import table_scan
from workloads.ml.errors import StepError

NAMES = ["größe (m²)", "price: net", "2019", "no", "it's", 'say "x"', "{a}", "[b]", "- c", "#1", "50%", "a, b", "null"]
CELLS = {
    "code": ["00501", "10"],
    "large": ["16777217", "1"],
    "empty": ["1", "", "2"],
    "word in numbers": ["1", "?", "2"],
    "word in categories": ["red", "NA", "blue"],
    "date": ["31.12.2024", "30.12.2024"],
    "nothing": [""],
    "text in numbers": ["1", "one", "2"],
    "texts": [f"text {number}" for number in range(40)],
}


def table_of(name: str, cells: Sequence[str], target: str) -> bytes:
    """Return a table with these cells, which repeat, a number and a class."""
    text = io.StringIO()
    lines = csv.writer(text)
    lines.writerow([name, "y", target])
    lines.writerows([cells[row % len(cells)], row, "ab"[row // 5 % 2]] for row in range(40))
    return text.getvalue().encode()


def suggestions(message: str) -> list[dict[str, Any]]:
    """Return the settings between backquotes of a message."""
    found = [yaml.safe_load(text) for text in re.findall(r"`((?:columns: )?\{.+?\})`", message)]
    return [each.get("columns", each) for each in found]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", CELLS)
def test_each_setting_that_an_error_suggests_solves_it(kind: str, name: str) -> None:
    content = table_of(name, CELLS[kind], "kind")
    with pytest.raises(StepError) as refused:
        table_scan.parse(content, "kind")
    found = suggestions(str(refused.value))
    assert found, refused.value
    for columns in found:
        assert list(columns) == [name], refused.value
        try:
            table_scan.parse(content, "kind", columns=columns)
        except StepError as error:
            pytest.fail(f"{columns} leads to: {error}")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("word", ["", "NA", "?"])
def test_each_setting_for_a_target_solves_its_error(word: str, name: str) -> None:
    lines = table_of("x", ["1", "2"], name).decode().splitlines()
    content = "\n".join([*lines, *(f"1,{row},{word}" for row in range(6))]).encode()  # enough rows for a class
    with pytest.raises(StepError) as refused:
        table_scan.parse(content, name)
    found = suggestions(str(refused.value))
    assert found, refused.value
    for columns in found:
        assert list(columns) == [name]
        table_scan.parse(content, name, columns=columns)
