"""Tables with the dirt of public data sets: from the file to predictions, or an error that names each column."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest

from tests.pipelines.scored import score_csv
from tests.pipelines.tables.dirty_tables import ROWS, TABLES, DirtyTable
from workloads.ml.data import table
from workloads.ml.data.csv_reader import CsvFormat
from workloads.ml.data.scan import table_scan
from workloads.ml.data.table import save_table
from workloads.ml.errors import StepError
from workloads.ml.model.forest import train_forest
from workloads.ml.model.model_directory import load_model_directory, require_servable


def parsed(dirty: DirtyTable, columns: dict[str, object]) -> table.Table:
    csv_format = CsvFormat.from_mapping(dirty.csv_format)
    return table_scan.parse(dirty.content, dirty.target, "file", csv_format, columns, dirty.task)


@pytest.mark.parametrize("name", [name for name, dirty in TABLES.items() if dirty.doubts])
def test_parse_table_with_doubts_names_each_column_and_the_setting(name: str) -> None:
    with pytest.raises(StepError) as error:
        parsed(TABLES[name], {})
    for column in TABLES[name].doubts:
        assert column in str(error.value)
    assert "columns" in str(error.value)


def test_parse_table_with_rare_classes_names_one_and_offers_the_regression() -> None:
    with pytest.raises(StepError, match=r"class \d of column quality has \d of 240 rows.*task: regression"):
        table_scan.parse(TABLES["wines"].content, "quality")


@pytest.mark.parametrize("name", TABLES)
def test_table_with_its_settings_is_trained_and_predicted(name: str, tmp_path: Path) -> None:
    dirty = TABLES[name]
    read = parsed(dirty, dirty.columns)
    save_table(str(tmp_path / "part"), read, np.ones(ROWS, dtype=bool))
    train_forest(str(tmp_path / "part"), tmp_path / "model", name, 20, 0)
    model = load_model_directory(tmp_path / "model")
    require_servable(model)
    scored, rows = score_csv(dirty.content, model, "", CsvFormat.from_mapping(dirty.csv_format))
    lines = list(csv.DictReader(io.StringIO(scored.decode())))
    assert rows == len(lines) == ROWS
    if dirty.task == "regression":
        values = [float(line[f"predicted_{dirty.target}"]) for line in lines]
        assert np.corrcoef(values, read.labels)[0, 1] > 0.9
    else:
        assert {line["class"] for line in lines} <= set(read.classes)
        truth = [read.classes[label] for label in read.labels]
        assert np.mean([line["class"] == true for line, true in zip(lines, truth, strict=True)]) > 0.8
