"""Invalid input gets a 4xx in the one error form, which names field and row, and never a 500."""

from __future__ import annotations

import json
import math
import re
import socket
from collections.abc import Iterable
from typing import Any

import pytest
import requests

from tests.server.conftest import MAX_BODY_BYTES, MAX_ROWS
from tests.server.running import HOST, Server, wait_until

GOOD = {"petal_length": 1.4, "petal_width": 0.2, "sepal_length": 5.1, "sepal_width": 3.5}
CSV_HEADER = "petal_length,petal_width,sepal_length,sepal_width\n"


def row(**changes: Any) -> bytes:
    """Return a flower with changed fields; NaN and Infinity are written as Python does."""
    return json.dumps(GOOD | changes).encode()


def raw(value: str) -> bytes:
    """Return a flower whose petal_width is this JSON text."""
    return row(petal_width="?").replace(b'"?"', value.encode())


def without(name: str) -> bytes:
    return json.dumps({key: value for key, value in GOOD.items() if key != name}).encode()


def rows(*bodies: bytes) -> bytes:
    return b"[" + b",".join(bodies) + b"]"


def cells(line: str, good: int = 0) -> bytes:
    return (CSV_HEADER + "1.4,0.2,5.1,3.5\n" * good + line).encode()


JSON_CASES: list[tuple[str, bytes, int, str, str | None, int | None]] = [
    ("not JSON", b"{petal", 400, "not_json", None, None),
    ("cut off", row()[:-1], 400, "not_json", None, None),
    ("two values", row() + row(), 400, "not_json", None, None),
    ("empty body", b"", 400, "empty_body", None, None),
    ("blank body", b" \n ", 400, "empty_body", None, None),
    ("invalid UTF-8", row().replace(b"petal_width", b"petal\xffwidth"), 400, "not_utf8", None, None),
    ("UTF-16", row().decode().encode("utf-16"), 400, "not_utf8", None, None),
    ("deep nesting of lists", b"[" * 50_000, 400, "not_json", None, None),
    ("deep nesting of objects", b'{"a":' * 15_000, 400, "not_json", None, None),
    ("integer beyond Python's limit", raw("9" * 5000), 400, "not_json", None, None),
    ("a text", b'"flower"', 422, "not_an_object", None, None),
    ("a number", b"1", 422, "not_an_object", None, None),
    ("null", b"null", 422, "not_an_object", None, None),
    ("text for a number", row(petal_width="0.2"), 422, "not_a_number", "petal_width", None),
    ("true for a number", row(petal_width=True), 422, "not_a_number", "petal_width", None),
    ("null for a number", row(petal_width=None), 422, "not_a_number", "petal_width", None),
    ("list for a number", row(petal_width=[0.2]), 422, "not_a_number", "petal_width", None),
    ("object for a number", row(petal_width={"cm": 0.2}), 422, "not_a_number", "petal_width", None),
    ("repeating object for a number", raw('{"a":1,"a":1}'), 422, "not_a_number", "petal_width", None),
    ("missing field", without("sepal_length"), 422, "missing_field", "sepal_length", None),
    ("no field", b"{}", 422, "missing_field", "sepal_length", None),
    ("unknown field", row(colour=1), 422, "unknown_field", "colour", None),
    ("lone surrogate as field", row(**{"\ud800": 1}), 422, "unknown_field", "\ud800", None),
    ("very long field", row(**{"x" * 5000: 1}), 422, "unknown_field", "x" * 100, None),
    ("repeated field", raw('0.2, "petal_width": 0.2'), 422, "duplicate_field", "petal_width", None),
    ("NaN", row(petal_width=math.nan), 422, "not_finite", "petal_width", None),
    ("Infinity", row(petal_width=math.inf), 422, "not_finite", "petal_width", None),
    ("-Infinity", row(petal_width=-math.inf), 422, "not_finite", "petal_width", None),
    ("overflow to infinity", raw("1e999"), 422, "not_finite", "petal_width", None),
    ("huge integer", raw("9" * 4000), 422, "out_of_range", "petal_width", None),
    ("above the range", row(petal_width=27), 422, "out_of_range", "petal_width", None),
    ("below zero where training was not", row(petal_width=-0.1), 422, "out_of_range", "petal_width", None),
    ("empty list", b"[]", 422, "no_rows", None, None),
    ("list of lists", rows(b"[1,2,3,4]"), 422, "not_an_object", None, 0),
    ("null in a list", rows(row(), b"null"), 422, "not_an_object", None, 1),
    ("wrong type in a batch", rows(row(), row(), row(petal_width="x")), 422, "not_a_number", "petal_width", 2),
    ("NaN in a batch", rows(row(), row(petal_width=math.nan)), 422, "not_finite", "petal_width", 1),
    ("missing in a batch", rows(row(), without("petal_width")), 422, "missing_field", "petal_width", 1),
    ("unknown in a batch", rows(row(), row(colour=1)), 422, "unknown_field", "colour", 1),
    ("repeated in a batch", rows(row(), raw('1, "petal_width": 1')), 422, "duplicate_field", "petal_width", 1),
    ("too many rows", rows(*[row()] * (MAX_ROWS + 1)), 422, "too_many_rows", None, MAX_ROWS),
]

CSV_CASES: list[tuple[str, bytes, int, str, str | None, int | None]] = [
    ("empty", b"", 400, "empty_body", None, None),
    ("invalid UTF-8", b"\xff\xfe", 400, "not_utf8", None, None),
    ("header alone", cells(""), 422, "no_rows", None, None),
    ("JSON", row(), 422, "missing_field", "sepal_length", None),
    ("missing column", b"petal_length,petal_width,sepal_length\n1,1,1", 422, "missing_field", "sepal_width", None),
    ("unknown column", b"a," + cells("1,2,3,4,5"), 422, "unknown_field", "a", None),
    ("repeated column", b"petal_width," + cells("1,2,3,4,5"), 422, "duplicate_field", "petal_width", None),
    ("too few cells", cells("1,2,3", good=2), 422, "wrong_column_count", None, 2),
    ("too many cells", cells("1,2,3,4,5"), 422, "wrong_column_count", None, 0),
    ("blank line", cells("\n1.4,0.2,5.1,3.5", good=1), 422, "wrong_column_count", None, 1),
    ("empty cell", cells("1.4,,5.1,3.5", good=1), 422, "not_a_number", "petal_width", 1),
    ("a word", cells("1.4,wide,5.1,3.5"), 422, "not_a_number", "petal_width", 0),
    ("nan", cells("1.4,nan,5.1,3.5"), 422, "not_a_number", "petal_width", 0),
    ("inf", cells("1.4,inf,5.1,3.5"), 422, "not_a_number", "petal_width", 0),
    ("overflow", cells("1.4,1e999,5.1,3.5"), 422, "not_finite", "petal_width", 0),
    ("Python's underscore", cells("1.4,0_2,5.1,3.5"), 422, "not_a_number", "petal_width", 0),
    ("other digits", cells("1.4,٢,5.1,3.5"), 422, "not_a_number", "petal_width", 0),
    ("out of range", cells("1.4,270,5.1,3.5", good=3), 422, "out_of_range", "petal_width", 3),
    ("open quote", cells('1.4,"0.2,5.1,3.5'), 400, "not_csv", None, None),
    ("too many rows", cells("", good=MAX_ROWS + 1), 422, "too_many_rows", None, MAX_ROWS),
]


def cases(table: list[Any]) -> list[Any]:
    """Return the rows of a table as test parameters, each named by its first column."""
    return [pytest.param(*case, id=name) for name, *case in table]


def check(
    response: requests.Response, status: int, code: str, field: str | None = None, row: int | None = None
) -> None:
    """Assert that the response is this error, in the one error form."""
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"] == "application/json"
    form = response.json()
    assert list(form) == ["error", "code", "field", "row"]
    assert (form["code"], form["field"], form["row"]) == (code, field, row), form
    assert len(form["error"]) < 2000
    assert field is None or field.encode("ascii", "backslashreplace").decode() in form["error"]


@pytest.mark.parametrize(
    ("body", "status", "code", "field", "number"), [pytest.param(*c[1:], id=c[0]) for c in JSON_CASES]
)
def test_score_bad_json_returns_error_with_field_and_row(
    server: Server, body: bytes, status: int, code: str, field: str | None, number: int | None
) -> None:
    check(server.post(body), status, code, field, number)


@pytest.mark.parametrize(
    ("body", "status", "code", "field", "number"), [pytest.param(*c[1:], id=c[0]) for c in CSV_CASES]
)
def test_score_bad_csv_returns_error_with_field_and_row(
    server: Server, body: bytes, status: int, code: str, field: str | None, number: int | None
) -> None:
    check(server.post(body, content_type="text/csv"), status, code, field, number)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (cells("1;2;3;4").replace(b",", b";"), "text/csv"),
        (row().replace(b"sepal_length", b"Sepal"), "application/json"),
    ],
)
def test_score_missing_field_beside_an_unknown_one_names_both(server: Server, body: bytes, content_type: str) -> None:
    error = server.post(body, content_type=content_type).json()["error"]
    assert re.fullmatch(r"\w+ is missing, and '(petal_length;.*|Sepal)' is not a field", error), error


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "application/jsonx", "a;b"]
)
@pytest.mark.parametrize("path", ["/score", "/v2/models/iris/infer"])
def test_post_other_content_type_returns_415(server: Server, content_type: str, path: str) -> None:
    check(server.post(row(), path, content_type), 415, "unsupported_media_type")


@pytest.mark.parametrize(
    "path",
    ["/nothing", "/score/", "/v2//health/live", "/Score", "/%ff", "/v2/", "/v2/models", "/..%2fetc"],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_request_unknown_path_returns_404(server: Server, path: str, method: str) -> None:
    check(requests.request(method, server.url + path, timeout=10, allow_redirects=False), 404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        *((method, "/score", {"POST", "OPTIONS"}) for method in ("GET", "PUT", "PATCH", "DELETE", "TRACE", "BREW")),
        *((method, "/", {"GET", "HEAD", "OPTIONS"}) for method in ("POST", "PUT", "DELETE")),
        ("POST", "/metrics", {"GET", "HEAD", "OPTIONS"}),
        ("POST", "/v2/health/ready", {"GET", "HEAD", "OPTIONS"}),
        ("GET", "/v2/models/iris/infer", {"POST", "OPTIONS"}),
    ],
)
def test_request_other_method_returns_405_with_allowed_methods(
    server: Server, method: str, path: str, allowed: set[str]
) -> None:
    response = requests.request(method, server.url + path, timeout=10)
    check(response, 405, "method_not_allowed")
    assert set(response.headers["Allow"].split(", ")) == allowed


def test_post_body_above_limit_returns_413(server: Server) -> None:
    assert server.post(row().ljust(MAX_BODY_BYTES)).status_code == 200
    check(server.post(row().ljust(MAX_BODY_BYTES + 1)), 413, "body_too_large")
    check(server.post(b"x" * 10_000_000), 413, "body_too_large")
    check(server.post(b"x" * (MAX_BODY_BYTES + 1), "/v2/models/iris/infer"), 413, "body_too_large")


def chunks(size: int) -> Iterable[bytes]:
    yield row()
    for _ in range(size // 10_000):
        yield b" " * 10_000


def test_post_chunked_body_returns_413_above_limit_and_200_below(server: Server) -> None:
    """Send bodies without a Content-Length."""
    headers = {"Content-Type": "application/json"}
    for size, status in ((MAX_BODY_BYTES // 2, 200), (2 * MAX_BODY_BYTES, 413)):
        response = requests.post(f"{server.url}/score", chunks(size), headers=headers, timeout=10)
        assert response.status_code == status
    check(response, 413, "body_too_large")


@pytest.mark.parametrize(
    "request_line",
    [
        b"garbage\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /score HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    ],
)
def test_connection_malformed_http_returns_400(server: Server, request_line: bytes) -> None:
    with socket.create_connection((HOST, server.port), timeout=10) as connection:
        connection.sendall(request_line)
        assert b" 400 " in connection.recv(1000).split(b"\r\n")[0]


def test_score_slow_bodies_of_other_clients_returns_200(server: Server) -> None:
    slow = [socket.create_connection((HOST, server.port), timeout=10) for _ in range(20)]
    for connection in slow:
        connection.sendall(
            b"POST /score HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 75\r\n\r\n{"
        )
    for _ in range(20):
        assert server.score(GOOD).status_code == 200
    for connection in slow:
        connection.close()


def test_metrics_after_bad_input_count_no_500(server: Server) -> None:
    for body in (row(), b"", b"[[", rows(row(petal_width=math.nan))):
        server.post(body)
    wait_until(lambda: 'status="422"' in server.get("/metrics").text, "no error was counted")
    assert 'status="500"' not in server.get("/metrics").text
