"""Plain JSON and CSV bodies are read by column, exactly as the strict reader reads them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from model_server.codecs.json_decoder import decode_json, decode_text
from model_server.codecs.plain_tables import read_csv_rows, read_json_rows
from model_server.codecs.row_reader import RowReader
from model_server.errors import RequestError
from model_server.model.model_package import ModelSignature
from tests.server.typed_models import COLUMNS, HOME

PROFILE = {"minimum": 0.0, "maximum": 2.0, "mean": 1.0}
NUMBERS = [{"name": "a", "type": "number"}, {"name": "n", "type": "integer"}, {"name": "b", "type": "number"}]


def reader_of(columns: list[dict[str, Any]], **changes: Any) -> RowReader:
    features = [column | PROFILE | changes.get(column["name"], {}) for column in columns]
    signature = {"format": 2, "model": "m", "task": "regression", "target": "y", "features": features, "sha256": ""}
    return RowReader(ModelSignature.model_validate(signature), max_rows=3)


@pytest.mark.parametrize(
    "body",
    [
        b"a,n,b\n1,2,0.5\n0.25,1,1e0\n",
        b"b,a,n\r\n1,2,3\r\n-0,1.5,0\r\n",
        b"n,b,a\n1,2,3",
    ],
)
def test_read_csv_rows_plain_file_equals_strict_reader(body: bytes) -> None:
    reader = reader_of(NUMBERS)
    found = read_csv_rows(reader, body)
    assert found is not None
    assert found.tolist() == reader.parse_csv(decode_text(body))


@pytest.mark.parametrize(
    "body",
    [
        b"a,n\n1,2\n",
        b"a,n,b,c\n1,2,3,4\n",
        b"a,n,n\n1,2,3\n",
        b"a,n,b\n",
        b"a,n,b\n1,2\n3,4,5,6\n",
        b"a,n,b\n1,2,3\n\n",
        b"a,n,b\n1,2,3\n\n1,2,3",
        b"a,n,b\n1,,3\n",
        b"a,n,b\n1, 2,3\n",
        b'a,n,b\n"1",2,3\n',
        b"a,n,b\n1,2.5,3\n",
        b"a,n,b\n1,2,1e400\n",
        b"a,n,b\n1,2,99\n",
        b"a,n,b\n01,2,3\n",
        b"a,n,b\n1,true,3\n",
        b"a,n,b\n1,2,3\n1,2,3\n1,2,3\n1,2,3\n",
        b"\xff,n,b\n1,2,3\n",
        b"",
    ],
)
def test_read_csv_rows_other_file_is_left_to_the_strict_reader(body: bytes) -> None:
    reader = reader_of(NUMBERS)
    found = read_csv_rows(reader, body)
    if found is not None:  # a final line break, for example, changes nothing
        assert found.tolist() == reader.parse_csv(decode_text(body))


def test_read_csv_rows_column_of_texts_is_left_to_the_strict_reader() -> None:
    assert (
        read_csv_rows(reader_of([{"name": "k", "type": "category", "categories": ["1", "2", "3"]}]), b"k\n1\n") is None
    )


def test_read_csv_rows_single_column_without_rows_is_left_to_the_strict_reader() -> None:
    assert read_csv_rows(reader_of(NUMBERS[:1]), b"a\n") is None


@pytest.mark.parametrize("layout", [{}, {"separators": (",", ":")}, {"indent": 1}])
@pytest.mark.parametrize("names", ["anb", "bna"])
def test_read_json_rows_of_numbers_in_any_layout_equal_strict_reader(layout: dict[str, Any], names: str) -> None:
    numbers = reader_of([column | {"type": "number"} for column in NUMBERS])
    rows = [dict(zip(names, values, strict=True)) for values in ([1, 2, 0.5], [0.25, -0.0, 1], [2, 1.5, 0.125])]
    body = json.dumps(rows, **layout).encode()
    found = read_json_rows(numbers, body)
    assert found is not None
    assert found.tolist() == numbers.parse_objects(decode_json(body))


@pytest.mark.parametrize(
    "second",
    [
        b'{"a":1,"n":2,"b":3}',
        b'{"a":1,"n":2,"b":0.5}',
        b'{"a":1,"b":0.5,"n":2}',
        b'{"a":1e0,"n":2,"b":0.5}',
        b'{"a":1,"n":2,"n":2}',
        b'{"a":1,"n":2,"b1":2}',
        b'{"a":1,"1n":2,"b":2}',
        b'{"a"1:1,"n":2,"b":2}',
        b'{"a":1,2"n":2,"b":2}',
        b'{1"a":1,"n":2,"b":2}',
        b'{"a":1,"n":2,"b":2}1',
        b'1{"a":1,"n":2,"b":2}',
        b'{"a":1-1,"n":2,"b":2}',
        b'{"a":1.2.3,"n":2,"b":2}',
        b'{"a":,"n":2,"b":2}',
        b'{"a":01,"n":2,"b":2}',
        b'{"a":-,"n":2,"b":2}',
        b'{"a":1 2,"n":2,"b":2}',
        b'{"a":"1","n":2,"b":2}',
        b'{"a":true,"n":2,"b":2}',
        b'{"a":null,"n":2,"b":2}',
        b'{"a":1,"n":2,"b":2,"c":2}',
        b'{"a":1,"n":2}',
        b'{"a":1,"n":2,"b":2},{}',
        b'{"a":1,"n":2,"b":2},',
        b'{"a":1,"n":2,"b":99}',
        b'{"a":1,"n":2.5,"b":2}',
        b"[]",
        b"",
    ],
)
@pytest.mark.parametrize("first", [b'{"a":1,"n":2,"b":0.5}', b'{"a":1,"n":2,"n":0.5}', b'{"a":1,"n1":2,"b":0.5}'])
def test_read_json_rows_of_numbers_returns_what_the_strict_reader_accepts(first: bytes, second: bytes) -> None:
    reader, body = reader_of(NUMBERS), b"[%b,%b]" % (first, second)
    found = read_json_rows(reader, body)
    try:
        expected = reader.parse_objects(decode_json(body))
    except RequestError:
        expected = None
    if found is not None:  # the strict reader may decide what the fast one leaves to it
        assert found.tolist() == expected


def homes(change: Callable[[dict[str, Any]], object] = lambda home: None) -> bytes:
    """Return two homes as JSON, the second one changed."""
    second = dict(HOME)
    change(second)
    return json.dumps([HOME, second]).encode()


def home_reader() -> RowReader:
    wide = {
        "area": {"maximum": 200.0},
        "floors": {"maximum": 1e9},
        "built": {"maximum": 9e3},
        "garden": {"maximum": 1.0},
    }
    return reader_of(COLUMNS, **wide)


@pytest.mark.parametrize(
    "change",
    [
        lambda home: None,
        lambda home: home.update(area=None, heating="coal", built="?"),
        lambda home: home.update(garden=1, floors=3.0),
        lambda home: home.update(floors=1 << 25),
    ],
)
def test_read_json_rows_columns_of_all_types_equal_strict_reader(change: Any) -> None:
    reader, body = home_reader(), homes(change)
    found = read_json_rows(reader, body)
    assert found is not None
    np.testing.assert_array_equal(found, reader.parse_objects(decode_json(body)))


@pytest.mark.parametrize(
    "body",
    [
        homes(lambda home: home.update(floors=2.5)),
        homes(lambda home: home.update(floors=(1 << 25) + 1)),
        homes(lambda home: home.update(district="south")),
        homes(lambda home: home.update(area=float("nan"))),
        homes(lambda home: home.update(area=1e9)),
        homes(lambda home: home.update(area=10**400)),
        homes(lambda home: home.pop("garden")),
        homes(lambda home: home.update(colour="red")),
        homes(lambda home: (home.pop("area"), home.update(colour="red"))),
        homes().replace(b'"gas"', b'"g\\u0061s"').replace(b'"floors": 3', b'"floors": 3, "floors": 3'),
        b"[[1, 2, 3, 4, 5, 6]]",
        b'["abcdef"]',
        b"[1]",
        b"[]",
        b"[",
        json.dumps([HOME] * 4).encode(),
    ],
)
def test_read_json_rows_other_body_is_left_to_the_strict_reader(body: bytes) -> None:
    assert read_json_rows(home_reader(), body) is None
