"""Check sizes and names of the tracked files: `python -m tools.ci.structure_lint`.

A fault is a folder or a file of the program that is too large. A name that exists twice in the program is another one:
of a module, a class or a public function.
"""

from __future__ import annotations

import ast
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from tools.ci.prose_lint import tracked_files

LONGEST_FILE = 300
"""Number of lines."""
LARGEST_FOLDER = 15
"""Number of files, without those of folders in it."""
LARGE_FOLDERS = {"workloads/components", "workloads/components/compiled"}
"""Folders of components: each is one file, which `load_component` finds by its name alone."""
SHARED_NAMES = {"__init__", "__main__", "errors", "main", "paths", "platform", "start"}
"""Names with the same meaning everywhere, and `platform`: the settings of the folder and its first module."""
NO_PROGRAM = ("tests/", "examples/")
GENERATED = ("_pb2.py", "_pb2.pyi", "/go.sum", "/vendor/")
SUFFIXES = {".py", ".sh"}


def structure_faults(files: Mapping[str, str]) -> Iterator[str]:
    """Yield the faults of files, given as text by path."""
    sizes = Counter(PurePosixPath(path).parent.as_posix() for path in files)
    for folder, count in sizes.items():
        if count > LARGEST_FOLDER and folder not in LARGE_FOLDERS:
            yield f"{folder}: {count} files, at most {LARGEST_FOLDER}"
    program = {
        path: text
        for path, text in files.items()
        if PurePosixPath(path).suffix in SUFFIXES and not path.startswith(NO_PROGRAM) and not _is_generated(path)
    }
    places: defaultdict[str, list[str]] = defaultdict(list)
    for path, text in program.items():
        if (lines := len(text.splitlines())) > LONGEST_FILE:
            yield f"{path}: {lines} lines, at most {LONGEST_FILE}"
        if path.endswith(".py"):
            for name in _names(path, text):
                places[name].append(path)
    for name, found in places.items():
        if len(found) > 1:
            yield f"{name} exists in {', '.join(found)}; give each thing another name"


def _is_generated(path: str) -> bool:
    return any(part in path for part in GENERATED)


def _names(path: str, text: str) -> Iterator[str]:
    """Yield the module, its classes and its public functions, each with its kind."""
    if (module := PurePosixPath(path).stem) not in SHARED_NAMES:
        yield f"module {module}"
    for node in ast.parse(text).body:
        if isinstance(node, ast.ClassDef):
            yield f"class {node.name}"
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not _is_shared(node.name):
            yield f"function {node.name}"


def _is_shared(name: str) -> bool:
    return name.startswith("_") or name in SHARED_NAMES


def main() -> int:
    """Print the faults of all tracked files; return 1 if any exists."""
    files = {name: Path(name).read_text() if PurePosixPath(name).suffix in SUFFIXES else "" for name in tracked_files()}
    found = list(structure_faults(files))
    for fault in found:
        print(fault)
    print(f"{len(found)} faults in the structure of {len(files)} files", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
