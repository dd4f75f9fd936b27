"""The linter of sizes and names."""

from __future__ import annotations

import pytest

from tools.ci.structure_lint import LARGEST_FOLDER, LONGEST_FILE, structure_faults


def test_names_that_exist_once_have_no_fault() -> None:
    files = {"a/b.py": "class C: ...\ndef d(): ...\ndef _e(): ...\n", "a/f.py": "def _e(): ...\ndef main(): ...\n"}
    assert list(structure_faults(files)) == []


@pytest.mark.parametrize(
    ("files", "fault"),
    [
        ({"a/b.py": "class C: ...", "d/e.py": "class C: ..."}, "class C exists in a/b.py, d/e.py"),
        ({"a/b.py": "def c(): ...", "d/e.py": "def c(): ..."}, "function c exists in a/b.py, d/e.py"),
        ({"a/b.py": "", "d/b.py": ""}, "module b exists in a/b.py, d/b.py"),
    ],
)
def test_name_that_exists_twice_is_a_fault(files: dict[str, str], fault: str) -> None:
    (found,) = structure_faults(files)
    assert found.startswith(fault)


@pytest.mark.parametrize("path", ["a/b.py", "a/b.sh"])
def test_file_of_too_many_lines_is_a_fault(path: str) -> None:
    assert list(structure_faults({path: "#\n" * LONGEST_FILE})) == []
    assert list(structure_faults({path: "#\n" * (LONGEST_FILE + 1)})) == [f"{path}: 301 lines, at most 300"]


def test_folder_of_too_many_files_is_a_fault() -> None:
    files = {f"tests/a/test_{number}.py": "" for number in range(LARGEST_FOLDER)}
    assert list(structure_faults(files | {"tests/a/b/test_c.py": ""})) == []
    assert list(structure_faults(files | {"tests/a/data.json": ""})) == ["tests/a: 16 files, at most 15"]
