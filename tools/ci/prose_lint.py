"""Check the project's English: `python -m tools.ci.prose_lint [PATH ...]`, all tracked files without a path.

It reads docstrings, comments and messages of Python files, comments of shell scripts and the Makefile, and Markdown.
A fault is a docstring that begins with a word of OPENER or PRONOUN, an expression of WORDS, or a long sentence.
Text in backticks is ignored.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from tools.bootstrap import process

LONGEST_SENTENCE = 25
"""Number of words."""
MESSAGE_WORDS = 4
"""Number of words from which a string is a message."""
PRONOUNS = (
    r"both|each|either|every|it|its|neither|one|others?|same|such|that|their|them|these|they|this|those|what|which|who"
    r"|whoever|whom|whose"
)
PRONOUN = re.compile(rf"(?:{PRONOUNS})\b", re.IGNORECASE)
"""First words of a docstring of an assignment that are no noun. A condition may come first, as in `With TLS, ...`."""
OPENER = re.compile(
    rf"(?:{PRONOUNS}|as|but|for|how|if|in|no|not|of|on|to|when|where|whether|why|with|without)\b", re.IGNORECASE
)
"""First words of other docstrings that are neither a verb nor a noun."""
WORDS = {
    r"anew": "again",
    r"of (?:its|their|your|our|my|one's) own": "own, or a second one",
    r"somebody(?: else)?(?:'s)?": "name the person or the program",
    r"(?:nobody|anybody|everybody|someone|anyone)(?: else)?(?:'s)?": "name the person or the program",
    r"who(?:m|ever|soever)": "name the person or the program",
    r"patien(?:t|tly|ce)": "retry, timeout",
    r"keepers?": "loader",
    r"(?:is|are|be|been|being|was|were) told": "logged, returned, reported",
    r"tells?": "logs, returns, reports",
    r"told": "logged, returned, reported",
    r"hears?|heard": "receives",
    r"rooms?": "namespace",
    r"asks?|asked|asking": "requests, queries",
    r"to be had": "available",
    r"makes? (?:no )?sense": "valid, invalid",
    r"sees? to it": "ensures",
    r"takes? root": "needs root",
    r"there is none": "it does not exist",
    r"what (?:is|are) (?:there|not there)": "existing, missing",
    r"in the place\b of": "instead of",
    r"seldom": "rarely",
    r"nowhere": "no, not",
    r"so that nothing": "name what",
    r"at home": "name the place",
    r"spelt": "written",
    r"besides": "also, in addition",
    r"likewise": "also",
    r"afresh": "again",
    r"mend(?:s|ed|ing)?": "fix, repair",
    r"(?:nothing|none|no one) but": "only",
    r"at last": "finally, or leave it out",
    r"thrown? away": "deleted, temporary",
    r"held (?:to|against)": "checked against",
}
"""Expressions that are no terms of the field, as regular expressions, and their replacements."""
EXPRESSION = re.compile(
    r"\b(?:" + "|".join(f"(?P<w{number}>{word})" for number, word in enumerate(WORDS)) + r")\b", re.IGNORECASE
)
REPLACEMENTS = list(WORDS.values())
CODE = re.compile(r"``[^`]*``|`[^`]*`|<?https?://\S+")
SENTENCE_END = re.compile(r"(?<=[.!?:;])[)\"']*\s+|\n\s*\n|\n\s*(?:[-*|>]|\d+\.)\s")
FENCE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
EXCLUDED = re.compile(r"_pb2\.pyi?$|/vendor/|uv\.lock$|/test_prose_lint\.py$")
"""Generated files, files of others, and the test whose texts are faulty on purpose."""
SUFFIXES = (".py", ".sh", ".md", "Makefile")


@dataclass(frozen=True)
class Block:
    """A text that begins at a line of a file."""

    line: int
    text: str
    has_sentences: bool = True


@dataclass(frozen=True)
class Fault:
    """A line of a file, and its fault."""

    path: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.message}"


def faults(path: str, text: str) -> list[Fault]:
    """Return the faults of one file.

    Args:
        path: the name, whose suffix selects the parser.
        text: the content.
    """
    if path.endswith(".py"):
        found = [*_openers(text), *_block_faults(_python_blocks(text))]
    elif path.endswith(".md"):
        found = list(_block_faults(_markdown_blocks(text)))
    else:
        found = list(_block_faults(_script_blocks(text)))
    return [Fault(path, line, message) for line, message in sorted(set(found))]


def _openers(text: str) -> Iterator[tuple[int, str]]:
    """Yield the faults of docstrings of modules, classes, functions and assignments."""
    for parent in ast.walk(ast.parse(text)):
        body = getattr(parent, "body", None)
        for node, following in pairwise([parent, *body] if isinstance(body, list) else []):
            match following:
                case ast.Expr(ast.Constant(str(docstring))) if opener := _wrong_words(node).match(docstring):
                    message = f'docstring of {_name_of(node)} begins with "{opener[0]}"; begin with a verb or a noun'
                    yield getattr(node, "lineno", 1), message


def _wrong_words(node: ast.AST) -> re.Pattern[str]:
    return PRONOUN if isinstance(node, ast.Assign | ast.AnnAssign) else OPENER


def _name_of(node: ast.AST) -> str:
    match node:
        case ast.Module():
            return "the module"
        case ast.Assign(targets=[target, *_]) | ast.AnnAssign(target=target):
            return ast.unparse(target)
    return str(getattr(node, "name", "a statement"))


def _block_faults(blocks: Iterable[Block]) -> Iterator[tuple[int, str]]:
    """Yield the line and the message of each fault."""
    for block in blocks:
        text = CODE.sub("`", block.text)
        for match in EXPRESSION.finditer(text):
            number = int((match.lastgroup or "w0")[1:])
            line = block.line + text.count("\n", 0, match.start())
            yield line, f'"{match[0]}": write {REPLACEMENTS[number]}'
        for sentence in SENTENCE_END.split(text) if block.has_sentences else ():
            words = len(re.findall(r"[A-Za-z`][\w'`-]*", sentence))
            if words > LONGEST_SENTENCE:
                line = block.line + text.count("\n", 0, text.index(sentence))
                yield line, f"a sentence of {words} words, at most {LONGEST_SENTENCE}: {sentence.strip()[:60]!r}"


def _python_blocks(text: str) -> Iterator[Block]:
    """Yield docstrings and comments, and the other strings of several words as messages."""
    nodes = list(ast.walk(ast.parse(text)))
    docstrings = {node.value for node in nodes if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)}
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if node in docstrings:
                yield Block(node.lineno, node.value)
            elif len(node.value.split()) >= MESSAGE_WORDS:
                yield Block(node.lineno, node.value, has_sentences=False)
    comments = {
        token.start[0]: (token.string.lstrip("#: "), token.line.strip().startswith("#"))
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type == tokenize.COMMENT and not re.match(r"# (?:type|noqa|mypy)|#!", token.string)
    }
    yield from _joined(comments)


def _joined(comments: Mapping[int, tuple[str, bool]]) -> Iterator[Block]:
    """Join the lines of a comment that stands alone.

    Args:
        comments: the text of each comment by its line, and True if the line has no code.
    """
    start, lines = 0, list[str]()
    for line, (text, is_alone) in comments.items():
        if lines and not (is_alone and line == start + len(lines)):
            yield Block(start, "\n".join(lines))
            lines = []
        if not lines:
            start = line
        lines.append(text)
    if lines:
        yield Block(start, "\n".join(lines))


def _script_blocks(text: str) -> Iterator[Block]:
    """Yield the comments of a shell script or Makefile, and the help texts of its targets."""
    lines = dict(enumerate(text.splitlines(), 1))
    yield from _joined(
        {
            number: (line.strip().lstrip("#@ "), True)
            for number, line in lines.items()
            if line.strip().startswith(("#", "@#")) and not line.startswith("#!")
        }
    )
    for number, line in lines.items():
        if "## " in line:
            yield Block(number, line.partition("## ")[2])


def _markdown_blocks(text: str) -> Iterator[Block]:
    """Yield the text without fenced code, tables separately."""
    lines = FENCE.sub(lambda fence: "\n" * fence[0].count("\n"), text).splitlines()
    yield Block(1, "\n".join("" if line.lstrip().startswith("|") else line for line in lines))
    yield Block(1, "\n".join(line if line.lstrip().startswith("|") else "" for line in lines), has_sentences=False)


def tracked_files(arguments: Sequence[str] = ()) -> list[str]:
    """Return the existing files of the git checkout without ignored ones, or those in the given files and folders."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *arguments]
    return [name for name in process.capture(command).splitlines() if Path(name).is_file()]


def main(arguments: Sequence[str]) -> int:
    """Print the faults of the given files and folders, and return 1 if any exists."""
    paths = [Path(name) for name in tracked_files(arguments) if name.endswith(SUFFIXES) and not EXCLUDED.search(name)]
    found = [fault for path in paths for fault in faults(path.as_posix(), path.read_text())]
    for fault in found:
        print(fault)
    print(f"{len(found)} faults in the English of {len(paths)} files", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
