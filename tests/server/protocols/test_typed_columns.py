"""Models of format 2: columns of all types by name, missing values, and regressions."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from model_server.codecs.plain_tables import read_csv_rows, read_json_rows
from model_server.codecs.row_reader import RowReader
from model_server.errors import ModelRefused, RequestError
from model_server.model.model import Model
from model_server.model.model_package import ModelSignature, read_package
from tests.server.models.test_trial import check as check_model
from tests.server.protocols.test_bad_input import cases, check
from tests.server.running import Server, running, wait_until
from tests.server.typed_models import CLASSES, COLUMNS, ENCODED, HOME, train_price

NAN = float("nan")


@pytest.fixture(scope="module")
def price(folder: Path) -> Path:
    return train_price(folder / "price")


@pytest.fixture(scope="module")
def session(homes_model: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(homes_model / "model.onnx")


@pytest.fixture(scope="module")
def reader(homes_model: Path) -> RowReader:
    return RowReader(ModelSignature.model_validate_json((homes_model / "signature.json").read_bytes()), 10)


def expected(session: onnxruntime.InferenceSession, encoded: list[float]) -> list[float]:
    """Return the probabilities that ONNX Runtime predicts."""
    probabilities: list[list[float]] = session.run(["probabilities"], {"features": [encoded]})[0].tolist()
    return probabilities[0]


def encoded(**changes: float) -> list[float]:
    return [changes.get(column["name"], value) for column, value in zip(COLUMNS, ENCODED, strict=True)]


@pytest.mark.parametrize(
    ("changes", "row"),
    [
        ({}, encoded()),
        ({"area": None}, encoded(area=NAN)),
        ({"floors": 3.0, "garden": 0}, encoded(garden=0)),
        ({"garden": False}, encoded(garden=0)),
        ({"heating": None}, encoded(heating=NAN)),
        ({"heating": ""}, encoded(heating=NAN)),
        ({"heating": "wood"}, encoded(heating=NAN)),
        ({"built": ""}, encoded(built=NAN)),
        ({"built": "?"}, encoded(built=NAN)),
        ({"built": "1990-06-15T12:00:00+02:00"}, encoded(built=7470 + 10 / 24)),
        ({"built": "1990-06-15T06:00"}, encoded(built=7470.25)),
        ({"built": "1969-12-31"}, encoded(built=-1)),
    ],
)
def test_score_typed_object_predicts_encoded_row(
    homes: Server, session: onnxruntime.InferenceSession, changes: dict[str, Any], row: list[float]
) -> None:
    single = homes.score(HOME | changes).json()
    assert list(single["probabilities"].values()) == pytest.approx(expected(session, row))
    assert single["price_class"] == CLASSES[single["class_index"]]
    assert homes.score([HOME | changes]).json()["predictions"][0]["probabilities"] == single["probabilities"]


def test_score_absent_columns_that_may_be_missing_equal_null(homes: Server) -> None:
    row = {key: value for key, value in HOME.items() if key not in ("area", "built")}
    assert homes.score(row).json() == homes.score(HOME | {"area": None, "built": None}).json()


def test_score_typed_csv_equals_list(homes: Server) -> None:
    lines = [
        "garden,district,area,floors,heating,built",
        "TRUE, north ,80.5,3,gas,1990-06-15",
        "0,north,,3,,?",
        "false,west,2e1,4.0,wood,1990-06-15T06:00:00Z",
    ]
    rows = [
        HOME,
        HOME | {"garden": False, "area": None, "heating": None, "built": None},
        HOME
        | {"garden": False, "district": "west", "area": 20, "floors": 4, "heating": "wood"}
        | {"built": "1990-06-15T06:00:00Z"},
    ]
    assert homes.post("\n".join(lines).encode(), content_type="text/csv").json() == homes.score(rows).json()
    without_area = homes.post(b"garden,district,floors\ntrue,north,3", content_type="text/csv").json()
    missing = HOME | {"area": None, "heating": None, "built": None}
    assert without_area == homes.score([missing]).json()


def test_csv_header_may_have_the_spaces_that_a_name_has() -> None:
    feature = {"type": "number", "minimum": 0, "maximum": 9, "mean": 3}
    features = [feature | {"name": " x"}, feature | {"name": "y"}]
    signature = {"format": 2, "model": "m", "task": "regression", "target": "z", "features": features, "classes": []}
    reader = RowReader(ModelSignature.model_validate(signature | {"sha256": "0" * 64, "metrics": {}}), 10)
    assert reader.parse_csv(" x, y \n1,2\n") == [[1, 2]]


def test_number_that_means_a_missing_value_is_missing_in_every_form_of_a_request() -> None:
    ages = {"name": "age", "type": "number", "minimum": 18, "maximum": 90, "mean": 40}
    rooms = {"name": "rooms", "type": "integer", "minimum": 1, "maximum": 9, "mean": 3}
    features = [
        ages | {"missing": True, "missing_texts": ["99", "NA"]},
        rooms | {"missing": True, "missing_texts": ["-1"]},
    ]
    signature = {"format": 2, "model": "m", "task": "regression", "target": "rent", "features": features, "classes": []}
    reader = RowReader(ModelSignature.model_validate(signature | {"sha256": "0" * 64, "metrics": {}}), 10)
    rows: list[dict[str, Any]] = [{"age": 99, "rooms": 2}, {"age": 40, "rooms": -1}, {"age": 99.0, "rooms": 3}]
    expected = [[NAN, 2], [40, NAN], [NAN, 3]]
    body = json.dumps(rows).encode()
    csv = "age,rooms\n" + "".join(f"{row['age']},{row['rooms']}\n" for row in rows)
    found = {
        "an object": [reader.parse_object(row) for row in rows],
        "a plain object": [reader.parse_fast(json.dumps(row).encode()) for row in rows],
        "a list of objects": read_json_rows(reader, body),
        "CSV": reader.parse_csv(csv),
        "plain CSV": read_csv_rows(reader, csv.encode()),
        "a tensor": [reader.check_encoded([row["age"], row["rooms"]], None) for row in rows],
    }
    for form, values in found.items():
        np.testing.assert_array_equal(np.array(values, float), expected, err_msg=form)


BAD: list[tuple[str, dict[str, Any], str, str, str]] = [
    ("fraction", {"floors": 2.5}, "not_an_integer", "floors", "expected an integer from 0 to 78, got 2.5"),
    ("boolean for an integer", {"floors": True}, "not_a_number", "floors", "got true"),
    ("null", {"floors": None}, "not_a_number", "floors", "expected an integer from 0 to 78, got null"),
    ("null boolean", {"garden": None}, "not_a_boolean", "garden", "expected true or false, got null"),
    ("text for a boolean", {"garden": "true"}, "not_a_boolean", "garden", "got the text 'true'"),
    ("two for a boolean", {"garden": 2}, "not_a_boolean", "garden", "got 2"),
    ("unknown", {"district": "south"}, "unknown_category", "district", "one of 'east', 'north', 'west', got the text"),
    ("other case", {"district": "North"}, "unknown_category", "district", "got the text 'North'"),
    ("index", {"district": 1}, "unknown_category", "district", "got 1"),
    ("empty category", {"district": ""}, "unknown_category", "district", "got the text ''"),
    ("number for a category", {"heating": 1}, "unknown_category", "heating", "or null"),
    ("text for a number", {"area": ""}, "not_a_number", "area", "or null (in CSV an empty cell) for a missing value"),
    ("days", {"built": 7470}, "not_a_date", "built", "expected a date in ISO 8601 from 1453-02-14 to"),
    ("other date", {"built": "15.06.1990"}, "not_a_date", "built", "got the text '15.06.1990'"),
    ("no such day", {"built": "1990-02-30"}, "not_a_date", "built", "1990-02-30"),
    ("far date", {"built": "9990-02-03"}, "out_of_range", "built", "9990-02-03"),
]


@pytest.mark.parametrize(("changes", "code", "field", "message"), cases(BAD))
def test_score_bad_typed_value_returns_422_with_allowed_values(
    homes: Server, changes: dict[str, Any], code: str, field: str, message: str
) -> None:
    check(homes.score(HOME | changes), 422, code, field)
    response = homes.score([HOME, HOME | changes])
    check(response, 422, code, field, 1)
    assert message in response.json()["error"]


def test_score_absent_required_column_returns_422(homes: Server) -> None:
    check(homes.score({key: HOME[key] for key in HOME if key != "district"}), 422, "missing_field", "district")
    check(homes.post(b"garden,floors\ntrue,3", content_type="text/csv"), 422, "missing_field", "district")


def test_score_many_categories_lists_the_first(reader: RowReader) -> None:
    column = reader.columns[3].feature.model_copy(update={"categories": tuple(f"c{n}" for n in range(40))})
    many = type(reader.columns[3])(column)
    with pytest.raises(RequestError, match=r"one of 'c0', .*'c9' or 30 more, got the text 'x'"):
        many.encode("x")


@pytest.mark.parametrize(
    ("value", "exact"),
    [(2**24, True), (2**24 + 1, False), (2**24 + 2, True), (2.0**24 + 1, False), (2**60, True), (2.0**60, False)],
)
def test_integer_beyond_float32_is_refused_unless_exact(reader: RowReader, value: float, exact: bool) -> None:
    column = type(reader.columns[1])(reader.columns[1].feature.model_copy(update={"maximum": 2.0**62}))
    if exact:
        assert column.encode(value) == value
        assert column.encode(column.read_cell(str(value))) == value
    else:
        with pytest.raises(RequestError, match="32-bit float") as caught:
            column.encode(value)
        assert caught.value.code == "not_exact"


@pytest.mark.parametrize("text", ['"heating":"gas"', '"heating":"g\\u0061s"', '"heating":"wo\\"od"', '"heating":null'])
def test_parse_fast_texts_agree_with_strict_decoder(reader: RowReader, text: str) -> None:
    body = json.dumps(HOME).replace('"heating": "gas"', text).encode()
    found = reader.parse_fast(body)
    assert (found is None) == (rb"\"" in body)
    assert found is None or str(found) == str(reader.parse_object(json.loads(body)))


def test_parse_fast_repeated_text_leaves_it_to_strict_decoder(reader: RowReader) -> None:
    body = json.dumps(HOME)[:-1] + ', "heating": "oil"}'
    assert reader.parse_fast(body.encode()) is None


def test_score_regression_returns_targets_and_unit(prices: Server) -> None:
    single = prices.score(HOME)
    content = single.json()
    assert list(content) == ["price", "rent", "unit", "model_name", "model_version"]
    assert (content["unit"], content["model_version"]) == ("1000 EUR", "7")
    assert len(str(content["price"])) < 10
    together = prices.score([HOME, HOME | {"area": None}]).json()
    assert list(together) == ["predictions", "unit", "model_name", "model_version"]
    assert together["predictions"][0] == pytest.approx({key: content[key] for key in ("price", "rent")})
    assert content["rent"] == pytest.approx(content["price"] / 20, rel=1e-4)
    wait_until(lambda: "model_server_predictions_total" in prices.get("/metrics").text, "nothing was counted")


def test_input_values_category_and_missing_are_counted(tmp_path: Path, homes_model: Path) -> None:
    rows = [HOME | {"heating": heating} for heating in ("gas", "oil", "oil", None, "wood", "peat")] * 50
    # Rows are counted after their responses: a new server has none of another test's rows outstanding.
    with running(tmp_path / "server.log", DIRECTORY=homes_model, VERSION="7", WORKERS=1) as started:
        assert started.score(rows).ok
        wait_until(lambda: _counts(started).get("missing") == 150, "the rows are not counted")
        assert _counts(started) == {"0.5": 0, "1.5": 50, "inf": 100, "missing": 150}
        shares = {"0.5": 0.5, "1.5": 0.25, "inf": 0.125, "missing": 0.125}
        assert _counts(started, "model_server_training_share") == shares


def _counts(server: Server, metric: str = "model_server_input_values_total") -> dict[str, float]:
    counts = {}
    for line in server.get("/metrics").text.splitlines():
        if line.startswith(f"{metric}{{") and 'feature="heating"' in line:
            labels, _, count = line.rpartition(" ")
            counts[labels.split('upto="')[1].split('"')[0]] = float(count)
    return counts


def change(folder: Path, **members: Any) -> None:
    signature = json.loads((folder / "signature.json").read_text())
    features = members.pop("feature", {})
    for feature in signature["features"]:
        feature |= features.get(feature["name"], {})
    (folder / "signature.json").write_text(json.dumps(signature | members))


@pytest.mark.parametrize(
    ("task", "changes", "message"),
    [
        ("price", {}, ""),
        ("price", {"classes": ["a"]}, "a regression needs format 2, no classes"),
        ("price", {"format": 1}, "a regression needs format 2"),
        ("price", {"targets": ["rent"]}, "its target among its targets"),
        ("price", {"targets": ["price", "price"]}, "a target is named twice"),
        ("price", {"targets": ["price", "rent"]}, r"its output has shape (1, 1)"),
        ("price", {"target": "unit"}, "must not be named unit"),
        ("price", {"task": "ranking"}, "task: Input should be"),
        ("price", {"task": "classification", "classes": ["a", "b"]}, "ONNX Runtime refuses it"),
        ("homes", {"classes": CLASSES[:2]}, "its outputs have shapes"),
        ("homes", {"feature": {"floors": {"type": "float"}}}, "floors: in format 2, the type must be one of"),
        ("homes", {"feature": {"floors": {"type": None}}}, "floors: in format 2, the type must be one of"),
        ("homes", {"feature": {"district": {"categories": []}}}, "district: a category, and no other type"),
        ("homes", {"feature": {"district": {"categories": ["a", "a"]}}}, "each must be named once"),
        ("homes", {"feature": {"district": {"categories": ["a", "b"]}}}, "district: the minimum and the maximum"),
        ("homes", {"feature": {"garden": {"maximum": 2}}}, "garden: the minimum and the maximum must be from 0"),
        ("homes", {"feature": {"floors": {"unknown": True}}}, "floors: only a category may be unknown"),
    ],
)
def test_load_signature_of_format_2_is_accepted_or_refused_with_reason(
    homes_model: Path, price: Path, tmp_path: Path, task: str, changes: dict[str, Any], message: str
) -> None:
    folder = shutil.copytree(price if task == "price" else homes_model, tmp_path / "model")
    change(folder, **changes)
    if not message:
        Model(None, read_package(folder, None, {}))
        return
    with pytest.raises(ModelRefused, match=re.escape(message)):
        Model(None, read_package(folder, None, {}))


def test_check_regression_exits_0_and_1_with_reason(price: Path, tmp_path: Path) -> None:
    assert check_model(price).returncode == 0
    folder = train_price(tmp_path / "incomplete", impute=False)
    ended = check_model(folder)
    assert (ended.returncode, len(ended.stderr.splitlines())) == (1, 1)
    assert "its values are not finite numbers" in ended.stderr
