"""A forest predicts single rows and batches exactly as ONNX Runtime does."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from model_server.codecs.json_decoder import decode_json
from model_server.codecs.row_reader import RowReader
from model_server.model.forest_cells import ForestCells
from model_server.model.forest_formulas import MOST_ROWS, ForestFormulas
from model_server.model.model import Model
from model_server.model.model_package import verify_package
from model_server.model.quickscorer import QuickScorer
from model_server.model.voting_forest import Branch, VotingForest, load_forest
from tests.server.running import Server, running
from tests.server.training import IRIS
from workloads.ml.model.model_directory import build_signature, save_model_directory, sha256_hex
from workloads.ml.model.onnx_export import classifier_to_onnx, forest_to_onnx


def trained(data: Any, trees: int = 100, **settings: Any) -> RandomForestClassifier:
    return RandomForestClassifier(trees, random_state=0, **settings).fit(data.data, data.target)


def forest_of(data: Any, content: bytes) -> VotingForest | None:
    return load_forest(content, data.data.shape[1], len(data.target_names))


def as_tuples(answers: list[tuple[int, list[float]]]) -> list[tuple[int, tuple[float, ...]]]:
    return [(label, tuple(shares)) for label, shares in answers]


def session_predicts(content: bytes, rows: Any) -> list[tuple[int, list[float]]]:
    labels, shares = onnxruntime.InferenceSession(content).run(["label", "probabilities"], {"features": rows})
    return list(zip(labels.tolist(), shares.tolist(), strict=True))


@pytest.mark.parametrize("load", [load_iris, load_wine, load_breast_cancer])
@pytest.mark.parametrize("trees", [1, 2, 100])
def test_predict_all_rows_equals_onnx_runtime_exactly(load: Any, trees: int) -> None:
    data = load()
    content = forest_to_onnx(trained(data, trees))
    found = forest_of(data, content)
    assert found
    rows = np.concatenate([found.probes(2000), data.data.astype(np.float32)])
    scorer = QuickScorer(found)
    assert [scorer.predict(row) for row in rows.tolist()] == as_tuples(session_predicts(content, rows))


@pytest.mark.parametrize("trees", [1, 2, 100])
def test_cells_all_rows_equal_onnx_runtime_exactly(trees: int) -> None:
    data = load_iris()
    content = forest_to_onnx(trained(data, trees))
    found = forest_of(data, content)
    assert found
    assert found.has_few_cells
    assert_equal_to_session(ForestCells(found), content, np.concatenate([found.probes(20_000), data.data]))


@pytest.mark.parametrize("load", [load_iris, load_wine, load_breast_cancer])
@pytest.mark.parametrize("trees", [1, 2, 100])
def test_formulas_all_rows_equal_onnx_runtime_exactly(load: Any, trees: int) -> None:
    data = load()
    content = forest_to_onnx(trained(data, trees))
    found = forest_of(data, content)
    assert found
    assert found.has_few_branches
    assert_equal_to_session(ForestFormulas(found), content, np.concatenate([found.probes(MOST_ROWS), data.data]))


def assert_equal_to_session(batches: ForestCells | ForestFormulas, content: bytes, rows: Any) -> None:
    rows = rows.astype(np.float32)
    expected = onnxruntime.InferenceSession(content).run(["label", "probabilities"], {"features": rows})
    assert all(np.array_equal(*each) for each in zip(batches.predict(rows), expected, strict=True))


@pytest.mark.parametrize("kind", [ForestCells, ForestFormulas])
def test_batch_missing_value_is_above_all_thresholds(kind: Any) -> None:
    batches = kind(VotingForest([[1.0], []], [Branch(0, 1.0, 0, 1)], classes=2))
    assert [output.tolist() for output in batches.predict(np.array([[np.nan, 0], [0, np.nan]], np.float32))] == [
        [1, 0],
        [[0.0, 1.0], [1.0, 0.0]],
    ]


def test_probes_lie_on_both_sides_of_every_threshold() -> None:
    found = VotingForest([[1.0], []], [Branch(0, 1.0, 0, 1)], classes=2)
    scorer = QuickScorer(found)
    above = float(np.nextafter(np.float32(1), np.float32(2)))
    assert {tuple(row) for row in found.probes(50).tolist()} >= {(1.0, 0.0), (above, 0.0)}
    assert (scorer.predict([1.0, 0.0]), scorer.predict([above, 0.0])) == ((0, (1.0, 0.0)), (1, (0.0, 1.0)))


@pytest.mark.parametrize(
    "other",
    [
        lambda: (load_iris(), classifier_to_onnx(LogisticRegression(max_iter=1000).fit(*load_iris(return_X_y=True)))),
        lambda: (load_iris(), classifier_to_onnx(trained(load_iris()))),
        lambda: (load_iris(), forest_to_onnx(trained(load_iris(), max_depth=2))),
        lambda: (load_digits(), forest_to_onnx(trained(load_digits()))),
    ],
    ids=["no forest", "shares summed instead of votes", "leaves for several classes", "too large"],
)
def test_load_forest_other_or_too_large_model_returns_none(other: Any) -> None:
    assert forest_of(*other()) is None


def rewritten(change: Callable[[dict[str, onnx.AttributeProto]], None]) -> bytes:
    """Return the Iris forest with changed attributes of its trees."""
    model = onnx.load_model_from_string(forest_to_onnx(trained(load_iris())))
    change({attribute.name: attribute for attribute in model.graph.node[0].attribute})
    return model.SerializeToString()


def in_doubles(attributes: dict[str, onnx.AttributeProto]) -> None:
    attributes["nodes_values"].name = "nodes_values_as_tensor"


def in_a_circle(attributes: dict[str, onnx.AttributeProto]) -> None:
    attributes["nodes_truenodeids"].ints[0] = 0


def of_more_features(attributes: dict[str, onnx.AttributeProto]) -> None:
    attributes["nodes_featureids"].ints[0] = 4


@pytest.mark.parametrize("change", [in_doubles, in_a_circle, of_more_features])
def test_load_forest_unsupported_attributes_returns_none(change: Any) -> None:
    assert forest_of(load_iris(), rewritten(change)) is None


@pytest.fixture(scope="module")
def voting(folder: Path) -> Path:
    """Return a model folder with an Iris forest as the pipelines write it."""
    data = load_iris()
    return saved(folder / "voting", data, forest_to_onnx(trained(data)))


def saved(folder: Path, data: Any, content: bytes, features: Sequence[str] = IRIS) -> Path:
    rows = data.data.astype(np.float32)
    about = {
        "features": features,
        "target": "species",
        "classes": data.target_names.tolist(),
        "source": "scikit-learn",
        "sha256": sha256_hex(rows.tobytes()),
        "rows": len(rows),
    }
    save_model_directory(folder, content, build_signature("iris", content, rows, about))
    return folder


@pytest.fixture(scope="module")
def reader(voting: Path) -> RowReader:
    return RowReader(loaded(voting).signature, 10)


@pytest.fixture(scope="module")
def voting_server(folder: Path, voting: Path) -> Iterator[Server]:
    with running(folder / "voting.log", DIRECTORY=voting, VERSION="7") as server:
        yield server


def test_score_single_flower_equals_flower_in_list(voting_server: Server) -> None:
    names = ["petal_length", "sepal_width", "petal_width", "sepal_length"]
    flowers = [dict(zip(names, row, strict=True)) for row in np.random.default_rng(0).uniform(0, 8, (100, 4)).tolist()]
    together = voting_server.score(flowers).json()["predictions"]
    identity = {"model_name": "iris", "model_version": "7"}
    assert [voting_server.score(flower).json() for flower in flowers] == [
        prediction | identity for prediction in together
    ]


def test_score_escaped_name_returns_prediction(voting_server: Server) -> None:
    body = b'{"petal\\u005flength": 1.4, "petal_width": 0.2, "sepal_length": 5.1, "sepal_width": 3.5}'
    assert voting_server.post(body).json()["species"] == "setosa"


def test_predict_row_forest_does_not_use_session(voting: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served = loaded(voting)
    ((label, shares),) = session_predicts((voting / "model.onnx").read_bytes(), load_iris().data[:1].astype(np.float32))
    monkeypatch.setattr(served, "_session", None)
    assert served.predict_row(load_iris().data[0].tolist())[0] == (label, tuple(shares))
    assert [output.tolist() for output in served.predict(load_iris().data[:1].tolist())[0]] == [[label], [shares]]


def test_predict_infinite_output_raises(voting: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served, rows = loaded(voting), load_iris().data[:2].tolist()

    def overflow(rows: Any) -> list[Any]:
        return [np.zeros(len(rows), np.int64), np.full((len(rows), 3), np.inf, np.float32)]

    for name, value in (("_scorer", None), ("_batches", None), ("_run", overflow)):
        monkeypatch.setattr(served, name, value)
    for predict in (lambda: served.predict_row(rows[0]), lambda: served.predict(rows)):
        with pytest.raises(FloatingPointError, match="not finite"):
            predict()


def test_model_that_is_not_served_any_more_is_free_at_once(voting: Path) -> None:
    """The garbage collector skips the models that a worker starts with."""
    served = loaded(voting)
    outputs, _ = served.predict_row(load_iris().data[0].tolist())
    assert served.encode_answer(*outputs)
    assert served.has_contributions
    served.task.answers(*served.predict(load_iris().data)[0])
    left = [weakref.ref(each) for each in (served, served.task, served.contributions)]
    gc.disable()
    try:
        del served
        assert [each() for each in left] == [None, None, None]
    finally:
        gc.enable()


def test_predict_batch_forest_of_few_cells_does_not_use_session(voting: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served, rows = loaded(voting), load_iris().data.astype(np.float32)
    expected = session_predicts((voting / "model.onnx").read_bytes(), rows)
    monkeypatch.setattr(served, "_session", None)
    labels, shares = served.predict(rows)[0]
    assert list(zip(labels.tolist(), shares.tolist(), strict=True)) == expected


def test_predict_row_and_large_batch_forest_of_few_branches_do_not_use_session(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = load_breast_cancer()
    content = forest_to_onnx(trained(data))
    served = loaded(saved(folder / "cancer", data, content, data.feature_names.tolist()))
    rows = np.resize(data.data.astype(np.float32), (3000, data.data.shape[1]))
    expected = session_predicts(content, rows)
    monkeypatch.setattr(served, "_session", None)
    labels, shares = served.predict(rows)[0]
    assert list(zip(labels.tolist(), shares.tolist(), strict=True)) == expected
    assert [served.predict_row(row)[0] for row in rows[:50].tolist()] == as_tuples(expected[:50])


NAMES = ["sepal_length", "sepal_width", "petal_length", "petal_width", "petal\\u005fwidth", "colour"]
PLAIN = ["5.1", "1", "-0.0", "1e0"]
INVALID = ["1E400", "NaN", "true", '"1"', "null", "[1]", '{"a":1}', "1" * 30]


@settings(deadline=None, derandomize=True)
@given(st.permutations(NAMES), st.integers(3, 5), st.lists(st.sampled_from(PLAIN + INVALID), min_size=5, max_size=5))
@example(NAMES, 4, PLAIN + PLAIN)
@example([*NAMES[:3], NAMES[4]], 4, PLAIN)
@example([*NAMES[:4], NAMES[4]], 5, [*PLAIN, "1"])
def test_parse_fast_any_body_agrees_with_strict_decoder(
    reader: RowReader, names: list[str], count: int, values: list[str]
) -> None:
    fields = list(zip(names[:count], values, strict=False))
    body = ("{" + ",".join(f'"{name}":{value}' for name, value in fields) + "}").encode()
    plain = sorted(name.replace("\\u005f", "_") for name, _ in fields) == sorted(reader.names)
    plain = plain and all(value in PLAIN for _, value in fields)
    expected = tuple(reader.parse_object(decode_json(body))) if plain else None
    assert reader.parse_fast(body) == expected


def loaded(folder: Path) -> Model:
    content = (folder / "model.onnx").read_bytes()
    return Model(None, verify_package(content, (folder / "signature.json").read_bytes(), None, {}))


def test_predict_model_with_other_tie_break_uses_onnx_runtime(voting: Path, tmp_path: Path) -> None:
    data = load_iris()
    graph = onnx.load_model_from_string(forest_to_onnx(trained(data, trees=2)))
    graph.graph.node[1].attribute.append(onnx.helper.make_attribute("select_last_index", 1))
    content = graph.SerializeToString()
    folder = saved(tmp_path / "last", data, content)
    served = loaded(folder)
    found = forest_of(data, content)
    assert found
    rows = found.probes(500)
    scorer = QuickScorer(found)
    tied = rows[[as_tuples(session_predicts(content, row[None])) != [scorer.predict(row.tolist())] for row in rows]]
    assert len(tied)
    for batch in (tied, tied[:1]):
        (labels, shares), _ = served.predict(batch)
        assert list(zip(labels.tolist(), shares.tolist(), strict=True)) == session_predicts(content, batch)
