"""ONNX files of other tools, wrapped with the signature of a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from skl2onnx import to_onnx
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier

from workloads.ml.data import table
from workloads.ml.data.scan import table_scan
from workloads.ml.errors import StepError
from workloads.ml.evaluation.evaluate import evaluate_model
from workloads.ml.model.model_directory import ModelDirectory, load_model_directory
from workloads.ml.model.onnx_wrapper import ForeignOutputs, wrap_onnx

ORDER = ["small", "large"]
"""Classes in the order of the network's columns; the table sorts them the other way round."""


def network(outputs: int = 2, kind: int = TensorProto.FLOAT, rows: int | None = None) -> bytes:
    """Return a network whose last column grows with a + b, and whose first one falls, as one of PyTorch begins."""
    weights = np.array([[0.5, -1.0, 1.0], [0.5, -1.0, 1.0]])[:, -outputs:]
    nodes = [
        helper.make_node("Gemm", ["x", "weights", "bias"], ["hidden"]),
        helper.make_node("Identity", ["hidden"], ["logits"]),
    ]
    constants = [
        helper.make_tensor("weights", kind, [2, outputs], weights.ravel()),
        helper.make_tensor("bias", kind, [outputs], [0.0] * outputs),
    ]
    shapes = [("x", [rows, 2]), ("logits", [rows, outputs])]
    given, made = ([helper.make_tensor_value_info(name, kind, shape)] for name, shape in shapes)
    graph = helper.make_graph(nodes, "network", given, made, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def with_external_weights() -> bytes:
    """Return a network whose weights are in another file, as PyTorch writes it by default."""
    model = onnx.load_model_from_string(network())
    for constant in model.graph.initializer:
        array = onnx.numpy_helper.to_array(constant)
        constant.CopyFrom(onnx.numpy_helper.from_array(array, constant.name))
        onnx.external_data_helper.set_external_data(constant, "network.onnx.data")
        constant.ClearField("raw_data")
    return bytes(model.SerializeToString())


def sklearn_export(**options: Any) -> bytes:
    """Return a classifier of texts as skl2onnx exports it, with the outputs output_label and output_probability."""
    rows = np.array([[-1.0, -1.0], [1.0, 1.0]], np.float32)
    trained = LogisticRegression().fit(rows, ORDER)
    return bytes(to_onnx(trained, rows, options=options).SerializeToString())


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the parts of a table for each task: what a + b is above 0, and the number itself."""
    folder = tmp_path_factory.mktemp("parts")
    rows = np.random.default_rng(0).normal(size=(200, 2)).round(3)
    marks = {
        "classification": [ORDER[int(a + b > 0)] for a, b in rows],
        "regression": [a + b for a, b in rows],
        "anomaly": [str(a + b > 1) for a, b in rows],
    }
    for task, targets in marks.items():
        lines = [f"{a},{b},{target}" for (a, b), target in zip(rows, targets, strict=True)]
        parsed = table_scan.parse("\n".join(["a,b,y", *lines]).encode(), "y", task=task)
        for name, part in zip(("train", "test"), table.split(parsed.labels, seed=0), strict=True):
            table.save_table(str(folder / f"{task}-{name}"), parsed, part)
    return folder


def wrapped(parts: Path, folder: Path, task: str, content: bytes, **outputs: Any) -> ModelDirectory:
    wrap_onnx(content, str(parts / f"{task}-train"), folder, "foreign", ForeignOutputs.from_mapping(outputs))
    return load_model_directory(folder)


@pytest.mark.parametrize("content", [network(), network(1), network(2, TensorProto.DOUBLE)])
def test_wrap_onnx_network_keeps_the_meaning_of_its_columns(parts: Path, tmp_path: Path, content: bytes) -> None:
    model = wrapped(parts, tmp_path, "classification", content, holds="logits", classes=ORDER)
    assert model.signature["classes"] == ["large", "small"]
    labels, probabilities = model.predict(np.array([[2, 1], [-2, -1]], np.float32))
    assert labels.tolist() == [0, 1]
    assert (probabilities.max(axis=1) > 0.95).all()
    tested = evaluate_model(str(parts / "classification-test"), str(tmp_path), None, None, "", "")
    assert tested.metrics["accuracy"] == 1


def test_wrap_onnx_numbers_and_scores(parts: Path, tmp_path: Path) -> None:
    values = wrapped(parts, tmp_path / "value", "regression", network(1)).predict_values(np.ones((3, 2), np.float32))
    assert values.tolist() == [[2.0]] * 3
    detector = wrapped(parts, tmp_path / "score", "anomaly", network(1), threshold=1.0)
    anomalies, scores = detector.predict_anomalies(np.array([[1, 1], [0.25, 0.5]], np.float32))
    assert (anomalies.tolist(), scores.tolist()) == ([True, False], [2.0, 0.75])


def test_wrap_onnx_file_of_another_converter(parts: Path, tmp_path: Path) -> None:
    rows, labels = table.load_table(str(parts / "classification-train"))
    trained = MLPClassifier(max_iter=30, random_state=0).fit(rows, labels)
    content = to_onnx(trained, rows[:1], options={"zipmap": False}).SerializeToString()
    named = {"name": "probabilities", "classes": ["large", "small"]}
    predicted, probabilities = wrapped(parts, tmp_path, "classification", content, **named).predict(rows)
    np.testing.assert_array_equal(predicted, trained.predict(rows))
    np.testing.assert_allclose(probabilities, trained.predict_proba(rows), atol=1e-5)


@pytest.mark.parametrize(
    ("content", "outputs", "message"),
    [
        (b"PK\x03\x04", {"classes": ORDER}, "cannot be read as ONNX"),
        (network(rows=1), {"classes": ORDER, "holds": "logits"}, r"has the shape \[1, 2\]; it must be \[rows, 2\]"),
        (network(), {}, "outputs.classes: empty; .* the table has: large, small"),
        (network(), {"classes": ["large", "tiny"]}, "the classes of the table are: large, small"),
        (network(), {"classes": ORDER}, "does not add up to 1"),
        (network(1), {"classes": ORDER}, "numbers from -.* to .*; each must be from 0 to 1; .* `holds: logits`"),
        (network(3), {"classes": ORDER, "holds": "logits"}, "the model's output has 3 columns, .* 2 classes"),
        (with_external_weights(), {"classes": ORDER}, "weights in another file, network.onnx.data; .* as one file"),
        (sklearn_export(), {"classes": ORDER, "name": "output_probability"}, "output_probability holds no .*zipmap"),
        (sklearn_export(), {"classes": ORDER, "name": "output_label"}, "output_label holds no floating-point numbers"),
        (network(), {"classes": ORDER, "holds": "scores"}, "outputs.holds: 'scores'; it must be probabilities or"),
        (network(), {"classes": ORDER, "name": "label"}, "outputs.name: label; the outputs of the model are: logits"),
        (network(), {"classes": [0, 1]}, "outputs.classes: .* must be a list of texts; quote numbers"),
        (network(), {"classes": ORDER, "threshold": "high"}, "outputs.threshold: 'high'; it must be a number"),
        (network(), {"class": ORDER}, "outputs: there is no class; the keys are"),
    ],
)
def test_wrap_onnx_file_that_does_not_fit_is_refused(
    parts: Path, tmp_path: Path, content: bytes, outputs: dict[str, Any], message: str
) -> None:
    with pytest.raises(StepError, match=message):
        wrapped(parts, tmp_path, "classification", content, **outputs)


@pytest.mark.parametrize(
    ("task", "columns", "outputs", "message"),
    [
        ("anomaly", 1, {}, "outputs.threshold: empty"),
        ("anomaly", 2, {"threshold": 1.0}, "the model's output has 2 columns, and an anomaly detection has one score"),
        ("regression", 1, {"holds": "logits"}, "are for a classification"),
        ("regression", 2, {}, "the model's output has 2 columns, and the table has 1 target"),
    ],
)
def test_wrap_onnx_outputs_of_another_task_are_refused(
    parts: Path, tmp_path: Path, task: str, columns: int, outputs: dict[str, Any], message: str
) -> None:
    with pytest.raises(StepError, match=message):
        wrapped(parts, tmp_path, task, network(columns), **outputs)


def test_wrap_onnx_numbers_beyond_probabilities_in_some_rows_are_refused(parts: Path, tmp_path: Path) -> None:
    """The least, mean and largest values of the features give numbers from 0 to 1; other rows give larger ones."""
    model = onnx.load_model_from_string(network(1))
    # (a - b) is 0 in a row of least, mean or largest values if both features are symmetric.
    for constant in model.graph.initializer:
        if constant.name == "weights":
            constant.float_data[:] = [1.0, -1.0]
        else:
            constant.float_data[:] = [0.5]
    lines = [f"{a},{b},{ORDER[int(a > b)]}" for a in (-1, 0, 1) for b in (-1, 0, 1) for _ in range(5)]
    parsed = table_scan.parse("\n".join(["a,b,y", *lines]).encode(), "y")
    table.save_table(str(tmp_path / "train"), parsed, np.ones(len(lines), bool))
    outputs = ForeignOutputs.from_mapping({"classes": ORDER})
    with pytest.raises(StepError, match="each must be from 0 to 1"):
        wrap_onnx(model.SerializeToString(), str(tmp_path / "train"), tmp_path / "model", "foreign", outputs)
