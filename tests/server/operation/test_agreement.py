"""Agreement of a canary with the champion."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import Counter

from model_server.model.agreement import DIFFERENT, MOST_ROWS, SAME, Agreement
from model_server.model.model import Model
from model_server.model.model_package import SIGNATURE_FILE, read_package
from tests.server.operation.test_metrics import expect, sample
from tests.server.running import running
from tests.server.training import Trained, train_iris
from tests.server.typed_models import homes, train_class, train_price

COMPARED = "model_server_compared_rows_total"


def loaded(folder: Path, version: str) -> Model:
    return Model(None, read_package(folder, version, {}))


def compared(model: Model, champion: Model, inputs: bytes) -> tuple[float, float]:
    rows = Counter("compared", "Rows.", ("model", "version", "champion", "result"), registry=None)
    agreement = Agreement(model, champion, rows)
    agreement.keep(inputs)
    agreement.count()
    key = (model.name, model.version, champion.version)
    same, different = (rows.labels(*key, result)._value.get() for result in (SAME, DIFFERENT))
    return same, different


def test_canary_counts_rows_on_which_it_and_the_champion_agree(iris: Trained, folder: Path) -> None:
    small = train_iris(folder / "stump", trees=1)
    settings = {"DIRECTORY": small.folder, "VERSION": "8", "CHAMPION_DIRECTORY": iris.folder, "CHAMPION_VERSION": "7"}
    differing = int((small.forest.predict(iris.data) != iris.forest.predict(iris.data)).sum())
    assert differing
    with running(folder / "canary.log", WORKERS=1, **settings) as server:
        assert server.score(iris.rows()).ok
        assert server.score(iris.rows()[0]).ok
        labels = {"version": "8", "champion": "7"}
        expect(server, len(iris.data) + 1 - differing, COMPARED, result=SAME, **labels)
        assert sample(server, COMPARED, result=DIFFERENT, **labels) == differing


def test_canary_serves_without_a_champion_that_cannot_be_read(iris: Trained, folder: Path) -> None:
    empty = folder / "no-champion"
    empty.mkdir()
    settings = {"DIRECTORY": iris.folder, "VERSION": "8", "CHAMPION_DIRECTORY": empty, "CHAMPION_VERSION": "7"}
    with running(folder / "alone.log", WORKERS=1, **settings) as server:
        assert server.score(iris.rows()[0]).ok
        assert COMPARED not in server.get("/metrics").text
        assert "the canary is not compared with version 7" in server.log.read_text()


@pytest.mark.parametrize(("rmse", "expected"), [(1e9, (300, 0)), (0.0, (0, 300))])
def test_values_of_a_regression_may_differ_by_the_rmse_of_the_champion(
    tmp_path: Path, rmse: float, expected: tuple[int, int]
) -> None:
    folders = [train_price(tmp_path / name, targets=2) for name in ("new", "old")]
    file = folders[1] / SIGNATURE_FILE
    file.write_text(json.dumps(json.loads(file.read_text()) | {"metrics": {"rmse": rmse}}))
    new, old = (loaded(folder, folder.name) for folder in folders)
    predict = old.predict
    old.predict = lambda rows: ([predict(rows)[0][0] + 5], b"")  # type: ignore[method-assign]
    data = np.nan_to_num(homes(300))
    assert compared(new, old, data.tobytes()) == expected


def test_models_with_other_columns_are_not_compared(iris: Trained, tmp_path: Path) -> None:
    model, champion = loaded(iris.folder, "8"), loaded(train_class(tmp_path / "homes"), "7")
    assert compared(model, champion, iris.data.tobytes()) == (0, 0)


def test_rows_beyond_the_limit_are_left_out(iris: Trained) -> None:
    model = loaded(iris.folder, "8")
    many = np.resize(iris.data, (MOST_ROWS + 500, 4)).astype(np.float32)
    assert compared(model, model, many.tobytes()) == (MOST_ROWS, 0)
