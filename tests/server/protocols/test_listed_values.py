"""Values that a signature lists as missing, and spaces around texts: the same answers as in a batch prediction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from model_server.codecs.row_reader import RowReader
from model_server.errors import RequestError
from model_server.model.model_package import ModelSignature
from workloads.ml.data.encoding import ColumnSchema, encode_column
from workloads.ml.errors import StepError


def server_of(schema: ColumnSchema) -> RowReader:
    """Return a reader of requests for a model with one column."""
    largest = max(len(schema.get("categories", ())) - 1, 0) if schema["type"] == "category" else 1
    feature: dict[str, Any] = {"minimum": 0, "maximum": largest if schema["type"] in ("category", "boolean") else 9}
    signature = {"format": 2, "model": "m", "task": "regression", "target": "t", "classes": [], "sha256": "0" * 64}
    features = [{**schema, **feature, "mean": 0}]
    return RowReader(ModelSignature.model_validate({**signature, "features": features}), 10)


def answer(reader: RowReader, value: Any) -> float | None:
    """Return the encoded value of a request, None if it is refused."""
    try:
        (number,) = reader.parse_object({"x": value})
    except RequestError:
        return None
    return number


@pytest.mark.parametrize(
    ("schema", "values"),
    [
        ({"type": "number", "missing_texts": ["-1"]}, [-1, -1.0, "-1"]),
        ({"type": "category", "categories": ["a", "b"], "unknown": True, "missing_texts": ["?"]}, ["?", " ? "]),
        ({"type": "date", "missing_texts": ["1970-01-02"]}, ["1970-01-02", "1970-01-02T00:00"]),
    ],
    ids=["number", "category", "date"],
)
def test_listed_value_of_a_column_without_missing_values_is_refused_everywhere(
    schema: dict[str, Any], values: Sequence[Any]
) -> None:
    described = ColumnSchema(name="x", **schema)  # type: ignore[typeddict-item]
    for value in values:
        with pytest.raises(StepError, match="means a missing value"):
            encode_column(pa.chunked_array([[str(value)]]), described)
        with pytest.raises(RequestError, match="that does not mean a missing value") as refused:
            server_of(described).parse_object({"x": value})
        assert refused.value.code == "missing_value"


def test_spaces_around_a_text_have_no_meaning_in_requests_as_in_files() -> None:
    schema = ColumnSchema(name="x", type="category", categories=["a", "b"], missing=True, missing_texts=["?"])
    texts = ["b", " b", "b ", " ? ", "  "]
    batch = encode_column(pa.chunked_array([texts]), schema)
    np.testing.assert_array_equal([answer(server_of(schema), text) for text in texts], batch)
    assert answer(server_of(schema), "c ") is None
    days = ColumnSchema(name="x", type="date")
    assert answer(server_of(days), " 1970-01-03 ") == encode_column(pa.chunked_array([[" 1970-01-03 "]]), days)[0]


def test_listed_number_of_a_tensor_in_32_bits_is_missing() -> None:
    reader = server_of(ColumnSchema(name="x", type="number", missing=True, missing_texts=["-99.9"]))
    assert np.isnan(reader.check_encoded([float(np.float32(-99.9))], None)).all()
