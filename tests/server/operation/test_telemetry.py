"""Recording and counting within one process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_server.model.model import Model
from model_server.model.model_package import read_package
from model_server.telemetry import IMMEDIATE_BYTES, Telemetry
from tests.server.operation.test_drift import with_ranges
from tests.server.training import Trained, train_iris


@pytest.fixture(scope="module")
def trained(folder: Path) -> Trained:
    iris = train_iris(folder / "telemetry")
    with_ranges(iris, iris.folder)
    return iris


@pytest.fixture
def model(trained: Trained) -> Model:
    return Model(None, read_package(trained.folder, "7", {}))


@pytest.fixture
def telemetry(model: Model) -> Telemetry:
    telemetry = Telemetry()
    telemetry.record_swap(model, None)
    return telemetry


def total(counter: Any) -> float:
    return sum(sample.value for metric in counter.collect() for sample in metric.samples if "_total" in sample.name)


def test_flush_error_in_one_counter_updates_all_others(
    model: Model, telemetry: Telemetry, trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    (label, _), inputs = model.predict_row(trained.data[0].tolist())
    telemetry.record_predictions(model, (label,), inputs)
    telemetry.record_request(("/missing", "GET", "404"), 0.001)
    monkeypatch.setattr(telemetry._predictions, "labels", lambda *_: (_ for _ in ()).throw(OSError("no space left")))
    with pytest.raises(OSError, match="no space left"):
        telemetry.flush()
    assert telemetry._models[model.key].labels == []
    assert telemetry._models[model.key].inputs == []
    assert telemetry._recorded_requests["/missing", "GET", "404"] == []
    assert total(telemetry._requests) == 1
    assert total(telemetry._values) == len(trained.features)


def test_record_predictions_large_batch_is_counted_at_once(
    model: Model, telemetry: Telemetry, trained: Trained
) -> None:
    rows = np.resize(trained.data, (IMMEDIATE_BYTES // 16, 4)).tolist()
    (labels, _), inputs = model.predict(rows)
    telemetry.record_predictions(model, labels.tolist(), inputs)
    assert total(telemetry._values) == len(rows) * len(trained.features)
    telemetry.flush()
    assert total(telemetry._values) == len(rows) * len(trained.features)
    assert total(telemetry._predictions) == len(rows)


def test_record_predictions_during_swap_counts_for_previous_model(
    model: Model, telemetry: Telemetry, trained: Trained
) -> None:
    following = Model(None, read_package(trained.folder, "8", {}))
    telemetry.record_swap(following, model)
    (label, _), inputs = model.predict_row(trained.data[0].tolist())
    telemetry.record_predictions(model, (label,), inputs)
    telemetry.flush()
    assert telemetry._predictions.labels(model.name, "7", "setosa")._value.get() == 1
    assert [telemetry._model.labels(*each.key)._value.get() for each in (model, following)] == [0, 1]


FIRST_METRICS = """
import sys
from pathlib import Path

from model_server.model.model import Model
from model_server.model.model_package import read_package
from model_server.telemetry import Telemetry, create_files

def report_empty_files(event, arguments):
    if event == "open" and str(arguments[0]).endswith(".db") and not Path(arguments[0]).stat().st_size:
        print("empty:", arguments[0])

create_files()
telemetry = Telemetry()
sys.addaudithook(report_empty_files)
telemetry.record_swap(Model(None, read_package(Path(sys.argv[1]), "7", {})), None)
telemetry.record_request(("/score", "POST", "200"), 0.001)
telemetry.record_refusal("iris")
telemetry.flush()
print(telemetry.exposition().decode())
"""


def test_files_of_metrics_are_complete_before_another_worker_can_read_them(trained: Trained, tmp_path: Path) -> None:
    command = [sys.executable, "-c", FIRST_METRICS, str(trained.folder)]
    variables = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    output = subprocess.run(command, env=variables, capture_output=True, text=True, check=True).stdout
    assert "empty:" not in output
    for line in ('model_server_requests_total{method="POST",path="/score",status="200"} 1.0', 'sha256="'):
        assert line in output
    assert 'model_server_request_seconds_count{path="/score"} 1.0' in output
    kinds = {file.name.rpartition("_")[0] for file in tmp_path.iterdir()}
    assert kinds == {"counter", "histogram", "gauge_livemax"}, "every kind of file is created in advance"


DEAD_WORKER = """
import os, subprocess, sys
from pathlib import Path

from model_server.telemetry import forget_dead_workers

ended = subprocess.Popen(["true"])
ended.wait()
file = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"], f"gauge_livemax_{ended.pid}.db")
file.touch()
removed = []

def remove_first(event, arguments):
    if event == "os.remove" and not removed:
        removed.append(arguments)
        file.unlink()

sys.addaudithook(remove_first)
forget_dead_workers()
assert removed and not file.exists()
"""


def test_gauges_of_a_dead_worker_that_another_worker_removes_at_once_are_no_error(tmp_path: Path) -> None:
    variables = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", DEAD_WORKER], env=variables, check=True)
