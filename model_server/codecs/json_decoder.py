"""JSON as its standard has it: UTF-8, every key once, and what is no number told from what is one."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from model_server.errors import RequestError


class Repeated:
    """Stands where an object had one key twice. It is no dict, so whoever asks `is_object` of it hears of it."""

    def __init__(self, key: str) -> None:
        self.key = key


def first_repeated(names: Iterable[str]) -> str | None:
    """The first of the names that has been there before; None where all differ."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any] | Repeated:
    values = dict(pairs)
    if len(values) != len(pairs) and (key := first_repeated(key for key, _ in pairs)) is not None:
        return Repeated(key)
    return values


_decoder = json.JSONDecoder(object_pairs_hook=_object)


def utf8(body: bytes) -> str:
    """The body's text.

    Raises:
        RequestError: it is empty or not UTF-8.
    """
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RequestError(400, "not_utf8", f"the body is not UTF-8: byte {error.start} is wrong") from None
    if not text.strip():
        raise RequestError(400, "empty_body", "the body is empty")
    return text


def json_value(body: bytes) -> Any:
    """The JSON value of a body. NaN, Infinity and numbers too large for a float come out as such floats.

    Raises:
        RequestError: it is not JSON.
    """
    text = utf8(body)
    try:
        return _decoder.decode(text)
    except json.JSONDecodeError as error:
        raise RequestError(400, "not_json", f"the body is not JSON: {error}") from None
    except RecursionError:
        raise RequestError(400, "not_json", "the body is nested too deeply") from None
    except ValueError:
        raise RequestError(400, "not_json", "the body has a number with too many digits") from None


def is_object(value: Any, row: int | None = None) -> bool:
    """Whether a decoded value is an object.

    Raises:
        RequestError: it is one that has a key twice.
    """
    if type(value) is dict:
        return True
    if isinstance(value, Repeated):
        key = value.key[:100]
        raise RequestError(422, "duplicate_field", f"{key!r} is there twice", field=key, row=row)
    return False


def describe_value(value: Any) -> str:
    """A decoded value in a few words for an error message, however large it is."""
    if isinstance(value, str):
        return f"the text {value[:40]!r}"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, dict | Repeated):
        return "an object"
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10**20:
        return "an integer of more than 20 digits"
    return json.dumps(value)
