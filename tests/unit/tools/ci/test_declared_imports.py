"""Test that pyproject.toml declares every library that this project imports.

A library that another one requires may disappear with its next version.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

from settings.paths import PROJECT

PROGRAM = ("airgap", "infra", "model_server", "platform", "policies", "settings", "tools", "workloads")
OWN = {*PROGRAM, "mlplatform", "tests"}
EXTRAS = {"distributed": "dask"}
"""Libraries that a declared extra of another one consists of."""


def imported(folder: str) -> Iterator[tuple[str, str]]:
    """Yield the top-level names that a folder imports, each with a file that does."""
    for file in sorted((PROJECT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            for name in (each.partition(".")[0] for each in names):
                if name not in OWN and name not in sys.stdlib_module_names:
                    yield name, str(file)


def normalized(requirement: str) -> str:
    return re.split(r"[\[<>=;!~ ]", requirement)[0].lower().replace("_", "-")


def undeclared(folders: tuple[str, ...]) -> dict[str, str]:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    groups = [each for group in project["dependency-groups"].values() for each in group if isinstance(each, str)]
    declared = {normalized(each) for each in [*project["project"]["dependencies"], *groups]}
    distributions = packages_distributions()
    found = {name: file for folder in folders for name, file in imported(folder)}

    def is_declared(name: str) -> bool:
        candidates = {normalized(each) for each in distributions.get(name, [name])}
        return bool(declared & {EXTRAS.get(each, each) for each in candidates})

    return {name: file for name, file in found.items() if not is_declared(name)}


def test_libraries_of_programs_and_tests_are_declared() -> None:
    assert undeclared((*PROGRAM, "tests")) == {}


def test_library_that_only_another_one_requires_is_found(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text("import os\nimport botocore.session\nfrom . import own\n")
    assert list(undeclared((str(tmp_path),))) == ["botocore"]
