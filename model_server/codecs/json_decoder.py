"""Strict JSON decoding: UTF-8 only, duplicate keys detected, non-finite numbers left for the caller to reject."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from model_server.errors import RequestError


class DuplicateKey:
    """Placeholder for an object that has a key twice; `is_object` raises for it."""

    def __init__(self, key: str) -> None:
        self.key = key


def first_duplicate(names: Iterable[str]) -> str | None:
    """Return the first name that occurred before; None if all differ."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any] | DuplicateKey:
    values = dict(pairs)
    if len(values) != len(pairs) and (key := first_duplicate(key for key, _ in pairs)) is not None:
        return DuplicateKey(key)
    return values


_decoder = json.JSONDecoder(object_pairs_hook=_object)


def decode_text(body: bytes) -> str:
    """Return the text of a body.

    Raises:
        RequestError: the body is empty or not UTF-8.
    """
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RequestError(400, "not_utf8", f"the body is not UTF-8: byte {error.start} is wrong") from None
    if not text.strip():
        raise RequestError(400, "empty_body", "the body is empty")
    return text


def decode_json(body: bytes) -> Any:
    """Return the JSON value of a body; NaN, Infinity and too large numbers become non-finite floats.

    Raises:
        RequestError: the body is not JSON.
    """
    text = decode_text(body)
    try:
        return _decoder.decode(text)
    except json.JSONDecodeError as error:
        raise RequestError(400, "not_json", f"the body is not JSON: {error}") from None
    except RecursionError:
        raise RequestError(400, "not_json", "the body is nested too deeply") from None
    except ValueError:
        raise RequestError(400, "not_json", "the body has a number with too many digits") from None


def is_object(value: Any, row: int | None = None) -> bool:
    """Return True if a decoded value is an object.

    Raises:
        RequestError: the object has a key twice.
    """
    if type(value) is dict:
        return True
    if isinstance(value, DuplicateKey):
        key = value.key[:100]
        raise RequestError(422, "duplicate_field", f"{key!r} occurs twice", field=key, row=row)
    return False


def describe_value(value: Any) -> str:
    """Return a short description of a decoded value for an error message."""
    if isinstance(value, str):
        return f"the text {value[:40]!r}"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, dict | DuplicateKey):
        return "an object"
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10**20:
        return "an integer of more than 20 digits"
    return json.dumps(value)
