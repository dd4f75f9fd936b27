"""Path patterns, in which `*` does not match a slash and `**` does (the syntax of Go's gobwas/glob)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from airgap.stand_ins.command.resource_command.errors import OperationFailed


def select_files(paths: Iterable[str], patterns: list[str]) -> Iterator[str]:
    """Yield the paths whose last matching pattern does not begin with `!`.

    Raises:
        OperationFailed: a pattern is not closed.
    """
    rules = [(not pattern.startswith("!"), _compile(pattern.removeprefix("!"))) for pattern in patterns]
    for path in paths:
        if [include for include, rule in rules if rule.fullmatch(path)][-1:] == [True]:
            yield path


def _compile(pattern: str) -> re.Pattern[str]:
    expression, position, depth = "", 0, 0
    while position < len(pattern):
        rest = pattern[position:]
        token = rest[0]
        if rest.startswith("**"):
            token, part = "**", ".*"
        elif token == "*":
            part = "[^/]*"
        elif token == "?":
            part = "[^/]"
        elif token == "[" and (characters := re.match(r"\[(!?)([^]]+)]", rest)):
            token = characters[0]
            members = re.sub(r"([\\^[&~|])", r"\\\1", characters[2])
            part = f"[{'^' if characters[1] else ''}{members}]"
        elif token == "\\" and len(rest) > 1:
            token, part = rest[:2], re.escape(rest[1])
        elif token == "{":
            depth, part = depth + 1, "(?:"
        elif token == "}" and depth:
            depth, part = depth - 1, ")"
        elif token == "," and depth:
            part = "|"
        elif token in "[{":
            raise OperationFailed(f"the pattern {pattern!r} has a {token!r} that is not closed")
        else:
            part = re.escape(token)
        expression += part
        position += len(token)
    if depth:
        raise OperationFailed(f"the pattern {pattern!r} has a '{{' that is not closed")
    return re.compile(expression, re.DOTALL)
