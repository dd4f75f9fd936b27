"""Check the project's English: `python -m tools.ci.prose_lint [PATH ...]`, all tracked files without a path.

Reads docstrings, comments and messages of Python files, comments of shell scripts and the Makefile, and Markdown pages.
A fault is an opener that is no summary, a word that is no term of the field, or a sentence that is too long.
"""

from __future__ import annotations

import ast
import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

LONGEST_SENTENCE = 25
"""Words of a sentence in code and pages."""
OPENERS = frozenset("how it of that this those these what when where whether which who whoever whose why one".split())
"""First words that do not say what a function does or what a class is."""
WORDS = {
    r"anew": "again",
    r"of (?:its|their|your|our|my|one's) own": "own, or a second one",
    r"somebody(?: else)?(?:'s)?": "name the person or the program",
    r"nobody(?: else)?(?:'s)?": "name the person or the program",
    r"who(?:m|ever|soever)": "name the person or the program",
    r"patien(?:t|tly|ce)": "retry, timeout",
    r"keepers?": "loader",
    r"(?:is|are|be|been|being|was|were) told": "logged, returned, reported",
    r"tells?": "logs, returns, reports",
    r"told": "logged, returned, reported",
    r"hears?|heard": "receives",
    r"rooms?": "namespace",
    r"to be had": "available",
    r"makes? (?:no )?sense": "valid, invalid",
    r"sees? to it": "ensures",
    r"takes? root": "needs root",
    r"there is none": "it does not exist",
    r"what (?:is|are) (?:there|not there)": "existing, missing",
    r"in the place of": "instead of",
    r"seldom": "rarely",
    r"nowhere": "no, not",
    r"so that nothing": "name what",
    r"at home": "name the place",
    r"spelt": "written",
}
"""A regular expression of the project's former idiolect, and what to write instead."""
IDIOLECT = re.compile(
    r"\b(?:" + "|".join(f"(?P<w{number}>{word})" for number, word in enumerate(WORDS)) + r")\b", re.IGNORECASE
)
INSTEAD = list(WORDS.values())
CODE = re.compile(r"``[^`]*``|`[^`]*`|<?https?://\S+")
SENTENCE_END = re.compile(r"(?<=[.!?:;])[)\"']*\s+|\n\s*\n|\n\s*(?:[-*|>]|\d+\.)\s")
FENCE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
GENERATED = re.compile(r"_pb2\.pyi?$|/vendor/|uv\.lock$")
READ = (".py", ".sh", ".md", "Makefile")


@dataclass(frozen=True)
class Fault:
    """A place in a file, and what is wrong there."""

    path: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.message}"


def faults(path: str, text: str) -> list[Fault]:
    """Return the faults of one file.

    Args:
        path: its name, which says how the text is read.
        text: its content.
    """
    if path.endswith(".py"):
        found = [*_of_docstrings(text), *_of_prose(_python_prose(text))]
    elif path.endswith(".md"):
        found = list(_of_prose(_page_prose(text)))
    else:
        found = list(_of_prose(_script_prose(text)))
    return [Fault(path, line, message) for line, message in sorted(set(found))]


def _of_docstrings(text: str) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            docstring = ast.get_docstring(node)
            first = re.match(r"\w+", docstring or "")
            if first and first[0].lower() in OPENERS:
                yield node.lineno, f'docstring of {node.name} begins with "{first[0]}"; begin with a verb or a noun'


def _of_prose(blocks: Iterable[tuple[int, str, bool]]) -> Iterator[tuple[int, str]]:
    """Yield a line and a message for each fault of blocks of (line, text, is prose)."""
    for line, block, is_prose in blocks:
        plain = CODE.sub("`", block)
        for found in IDIOLECT.finditer(plain):
            number = int((found.lastgroup or "w0")[1:])
            place = line + plain.count("\n", 0, found.start())
            yield place, f'"{found[0]}": write {INSTEAD[number]}'
        if is_prose:
            for sentence in SENTENCE_END.split(plain):
                words = len(re.findall(r"[A-Za-z`][\w'`-]*", sentence))
                if words > LONGEST_SENTENCE:
                    place = line + plain.count("\n", 0, plain.index(sentence))
                    yield place, f"a sentence of {words} words, at most {LONGEST_SENTENCE}: {sentence.strip()[:60]!r}"


def _python_prose(text: str) -> Iterator[tuple[int, str, bool]]:
    """Yield docstrings and comments as prose, and other texts of several words as messages."""
    tree = ast.parse(text)
    documented = {
        node.value.lineno: node.value.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    }
    for line, docstring in documented.items():
        yield line, docstring, True
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.lineno not in documented:
            if len(node.value.split()) > 3:
                yield node.lineno, node.value, False
    comments = [
        (token.start[0], token.string.lstrip("#: "), token.line.strip().startswith("#"))
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type == tokenize.COMMENT and not re.match(r"# (?:type|noqa|mypy)|#!", token.string)
    ]
    yield from _joined(comments)


def _joined(comments: Sequence[tuple[int, str, bool]]) -> Iterator[tuple[int, str, bool]]:
    """Join the lines of each comment that stands alone."""
    start, lines = 0, list[str]()
    for line, text, alone in comments:
        if lines and not (alone and line == start + len(lines)):
            yield start, "\n".join(lines), True
            lines = []
        if not lines:
            start = line
        lines.append(text)
    if lines:
        yield start, "\n".join(lines), True


def _script_prose(text: str) -> Iterator[tuple[int, str, bool]]:
    found = [
        (number, line.strip().lstrip("#@ "), True)
        for number, line in enumerate(text.splitlines(), 1)
        if line.strip().startswith(("#", "@#")) and not line.startswith("#!")
    ]
    yield from _joined(found)
    for number, line in enumerate(text.splitlines(), 1):
        if "## " in line:
            yield number, line.partition("## ")[2], True


def _page_prose(text: str) -> Iterator[tuple[int, str, bool]]:
    without = FENCE.sub(lambda fence: "\n" * fence[0].count("\n"), text)
    rows = "\n".join("" if line.lstrip().startswith("|") else line for line in without.splitlines())
    tables = "\n".join(line if line.lstrip().startswith("|") else "" for line in without.splitlines())
    yield 1, rows, True
    yield 1, tables, False


def main(arguments: Sequence[str]) -> int:
    """Print the faults of the given files and folders. Returns 1 if there are any."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout.splitlines()
    paths = [
        Path(name) for name in listed if name.endswith(READ) and not GENERATED.search(name) and Path(name).is_file()
    ]
    found = [fault for path in paths for fault in faults(path.as_posix(), path.read_text())]
    for fault in found:
        print(fault)
    print(f"{len(found)} faults of language in {len(paths)} files", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
