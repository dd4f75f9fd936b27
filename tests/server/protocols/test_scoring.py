"""POST /score: predictions for a JSON object, a JSON list and a CSV file."""

from __future__ import annotations

import io
import random
import threading

import pandas as pd
import pytest
import requests

from tests.server.running import Server
from tests.server.training import Trained

SETOSA = {"petal_length": 1.4, "petal_width": 0.2, "sepal_length": 5.1, "sepal_width": 3.5}
VIRGINICA = {"petal_length": 6.0, "petal_width": 2.5, "sepal_length": 6.3, "sepal_width": 3.3}
IDENTITY = {"model_name": "iris", "model_version": "7"}


def test_score_object_returns_index_class_and_probabilities(server: Server) -> None:
    response = server.score(VIRGINICA)
    content = response.json()
    probabilities = content.pop("probabilities")
    assert (response.status_code, response.headers["Content-Type"]) == (200, "application/json")
    assert content == {"class_index": 2, "species": "virginica"} | IDENTITY
    assert list(probabilities) == ["setosa", "versicolor", "virginica"]
    assert sum(probabilities.values()) == pytest.approx(1, abs=1e-5)
    assert max(probabilities, key=probabilities.get) == "virginica"


def test_score_all_flowers_returns_predictions_of_forest(server: Server, iris: Trained) -> None:
    content = server.score(iris.rows()).json()
    assert content.keys() == {"predictions"} | IDENTITY.keys()
    expected = iris.forest.predict(iris.data).tolist()
    assert [prediction["class_index"] for prediction in content["predictions"]] == expected
    for prediction, probabilities in zip(content["predictions"], iris.forest.predict_proba(iris.data), strict=True):
        assert list(prediction["probabilities"].values()) == pytest.approx(probabilities.tolist(), abs=1e-5)


def test_score_single_flower_equals_flower_in_list(server: Server, iris: Trained) -> None:
    together = server.score(iris.rows()).json()["predictions"]
    for index in range(0, 150, 10):
        assert server.score(iris.rows()[index]).json() == together[index] | IDENTITY


def test_score_fields_in_any_order_returns_same_predictions(server: Server, iris: Trained) -> None:
    shuffled = []
    for row in iris.rows():
        names = list(row)
        random.Random(repr(row)).shuffle(names)
        shuffled.append({name: row[name] for name in names})
    assert server.score(shuffled).json() == server.score(iris.rows()).json()


@pytest.mark.parametrize("columns", [["petal_width", "sepal_length", "petal_length", "sepal_width"], None])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_score_csv_equals_list(
    server: Server, iris: Trained, columns: list[str] | None, line_end: str, encoding: str
) -> None:
    file = io.StringIO()
    pd.DataFrame(iris.rows()).to_csv(file, columns=columns, index=False, lineterminator=line_end)
    response = server.post(file.getvalue().encode(encoding), content_type="text/csv; charset=utf-8")
    assert response.json() == server.score(iris.rows()).json()


def test_score_integers_and_exponents_returns_prediction(server: Server) -> None:
    response = server.post(b'{"petal_length": 2, "petal_width": 2e-1, "sepal_length": 5, "sepal_width": 35e-1}')
    assert response.json()["species"] == "setosa"


def test_score_content_type_with_parameters_returns_prediction(server: Server) -> None:
    body = b'{"petal_length":1.4,"petal_width":0.2,"sepal_length":5.1,"sepal_width":3.5}'
    assert server.post(body, content_type="application/json; charset=utf-8").json() == server.score(SETOSA).json()


def test_score_concurrent_clients_get_their_own_predictions(server: Server) -> None:
    wrong: list[str] = []

    def score_often(flower: dict[str, float], species: str) -> None:
        wrong.extend(found for _ in range(30) if (found := server.score(flower).json()["species"]) != species)

    flowers = [(SETOSA, "setosa"), (VIRGINICA, "virginica")] * 4
    clients = [threading.Thread(target=score_often, args=flower) for flower in flowers]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert wrong == []


def test_options_and_head_return_methods_and_no_body(server: Server) -> None:
    options = requests.options(f"{server.url}/score", timeout=10)
    head = requests.head(f"{server.url}/v2", timeout=10)
    assert (options.status_code, sorted(options.headers["Allow"].split(", "))) == (200, ["OPTIONS", "POST"])
    assert (head.status_code, head.content) == (200, b"")
