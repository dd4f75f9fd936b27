"""Conditions and selectors of a package: the subset of the Common Expression Language that kfp's compiler writes."""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

Operand = Callable[[Mapping[str, Any]], Any]
Condition = Callable[[Mapping[str, Any]], bool]

TOKEN = re.compile(
    r"\s*(?:inputs\.parameter_values\['(?P<parameter>[^']*)'\]"
    r"|'(?P<text>[^'\\]*)'"
    r"|(?P<number>-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)"
    r"|(?P<word>int|double|true|false)\b"
    r"|(?P<symbol>==|!=|>=|<=|>|<|&&|!|\(|\)))"
)
OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}
SELECTOR = re.compile(r'parseJson\(string_value\)(?P<keys>(?:\["[^"]*"\])+)')


class ExpressionError(ValueError):
    """A condition or a selector that cannot be evaluated."""


class _Parser:
    """Recursive-descent parser of one condition."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0
        self._kind = self._value = ""
        self._advance()

    def parse(self) -> Condition:
        condition = self._conjunction()
        if self._kind:
            raise self._error()
        return condition

    def _conjunction(self) -> Condition:
        terms = [self._term()]
        while self._take("&&"):
            terms.append(self._term())
        return lambda inputs: all(term(inputs) for term in terms)

    def _term(self) -> Condition:
        if self._take("!"):
            self._require("(")
            inner = self._conjunction()
            self._require(")")
            return lambda inputs: not inner(inputs)
        left = self._operand()
        compare = OPERATORS.get(self._value) if self._kind == "symbol" else None
        if compare is None:
            raise self._error()
        self._advance()
        right = self._operand()
        return lambda inputs: compare(*self._comparable(left(inputs), right(inputs)))

    def _operand(self) -> Operand:
        kind, value = self._kind, self._value
        self._advance()
        if kind == "parameter":
            return lambda inputs: inputs[value]
        if kind == "text":
            return lambda inputs: value
        if kind == "number":
            return lambda inputs: float(value)
        if value in ("true", "false"):
            return lambda inputs: value == "true"
        if value in ("int", "double"):
            self._require("(")
            inner = self._operand()
            self._require(")")
            return lambda inputs: _number(inner(inputs), int if value == "int" else float)
        raise self._error()

    def _comparable(self, left: Any, right: Any) -> tuple[Any, Any]:
        """Return both values; Python would compare True with 1."""
        if _kind(left) != _kind(right):
            raise ExpressionError(
                f"the condition {self._text} compares {left!r} with {right!r}, which has another type"
            )
        return left, right

    def _take(self, symbol: str) -> bool:
        taken = self._kind == "symbol" and self._value == symbol
        if taken:
            self._advance()
        return taken

    def _require(self, symbol: str) -> None:
        if not self._take(symbol):
            raise self._error()

    def _advance(self) -> None:
        if not self._text[self._position :].strip():
            self._kind = self._value = ""
            return
        token = TOKEN.match(self._text, self._position)
        if token is None:
            raise self._error()
        self._kind = str(token.lastgroup)
        self._value, self._position = token[self._kind], token.end()

    def _error(self) -> ExpressionError:
        return ExpressionError(
            f"the condition {self._text} cannot be evaluated; compare values of the same type, and texts without "
            "quotes and backslashes"
        )


def parse_condition(text: str) -> Condition:
    """Return a function that evaluates a condition for the input parameters of its task.

    Raises:
        ExpressionError: the condition is malformed; the returned function raises it for values of different types.
    """
    return _Parser(text).parse()


def select(value: Any, selector: str) -> Any:
    """Return the field of a value that a selector such as `parseJson(string_value)["name"]` names.

    Raises:
        ExpressionError: the selector is malformed, or the value has no such field.
    """
    matched = SELECTOR.fullmatch(selector)
    if matched is None:
        raise ExpressionError(f"the selector {selector} cannot be evaluated")
    try:
        found = json.loads(value) if isinstance(value, str) else value
        for key in re.findall(r'\["([^"]*)"\]', matched["keys"]):
            found = found[key]
    except (ValueError, KeyError, TypeError):
        raise ExpressionError(f"the value {value!r} has no field {matched['keys']}") from None
    return found


def _kind(value: Any) -> type:
    return float if isinstance(value, int | float) and not isinstance(value, bool) else type(value)


def _number(value: Any, to: type[int] | type[float]) -> int | float:
    try:
        return to(value)
    except (TypeError, ValueError):
        raise ExpressionError(f"a condition needs a number; found: {value!r}") from None
