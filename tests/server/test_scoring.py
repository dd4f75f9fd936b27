"""POST /score: what a prediction is, in all three forms of the question."""

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


def test_one_object_gets_one_answer_with_index_name_and_probabilities(server: Server) -> None:
    answer = server.score(VIRGINICA)
    content = answer.json()
    probabilities = content.pop("probabilities")
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/json")
    assert content == {"class_index": 2, "species": "virginica"} | IDENTITY
    assert list(probabilities) == ["setosa", "versicolor", "virginica"]
    assert sum(probabilities.values()) == pytest.approx(1, abs=1e-5)
    assert max(probabilities, key=probabilities.get) == "virginica"


def test_all_150_flowers_get_the_class_and_the_probabilities_of_the_forest(server: Server, iris: Trained) -> None:
    content = server.score(iris.rows()).json()
    assert content.keys() == {"predictions"} | IDENTITY.keys()
    expected = iris.forest.predict(iris.data).tolist()
    assert [prediction["class_index"] for prediction in content["predictions"]] == expected
    for prediction, probabilities in zip(content["predictions"], iris.forest.predict_proba(iris.data), strict=True):
        assert list(prediction["probabilities"].values()) == pytest.approx(probabilities.tolist(), abs=1e-5)


def test_each_flower_alone_gets_the_answer_it_gets_in_the_list(server: Server, iris: Trained) -> None:
    together = server.score(iris.rows()).json()["predictions"]
    for place in range(0, 150, 10):
        assert server.score(iris.rows()[place]).json() == together[place] | IDENTITY


def test_the_order_of_the_fields_does_not_matter(server: Server, iris: Trained) -> None:
    shuffled = []
    for row in iris.rows():
        names = list(row)
        random.Random(repr(row)).shuffle(names)
        shuffled.append({name: row[name] for name in names})
    assert server.score(shuffled).json() == server.score(iris.rows()).json()


@pytest.mark.parametrize("columns", [["petal_width", "sepal_length", "petal_length", "sepal_width"], None])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_csv_file_gets_the_answers_of_the_list(
    server: Server, iris: Trained, columns: list[str] | None, line_end: str, encoding: str
) -> None:
    file = io.StringIO()
    pd.DataFrame(iris.rows()).to_csv(file, columns=columns, index=False, lineterminator=line_end)
    answer = server.post(file.getvalue().encode(encoding), content_type="text/csv; charset=utf-8")
    assert answer.json() == server.score(iris.rows()).json()


def test_whole_numbers_and_exponents_are_numbers(server: Server) -> None:
    answer = server.post(b'{"petal_length": 2, "petal_width": 2e-1, "sepal_length": 5, "sepal_width": 35e-1}')
    assert answer.json()["species"] == "setosa"


def test_a_content_type_with_parameters_is_understood(server: Server) -> None:
    body = b'{"petal_length":1.4,"petal_width":0.2,"sepal_length":5.1,"sepal_width":3.5}'
    assert server.post(body, content_type="application/json; charset=utf-8").json() == server.score(SETOSA).json()


def test_answers_of_many_clients_at_once_do_not_mix(server: Server) -> None:
    wrong: list[str] = []

    def ask(flower: dict[str, float], species: str) -> None:
        wrong.extend(answer for _ in range(30) if (answer := server.score(flower).json()["species"]) != species)

    flowers = [(SETOSA, "setosa"), (VIRGINICA, "virginica")] * 4
    clients = [threading.Thread(target=ask, args=flower) for flower in flowers]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert wrong == []


def test_options_name_the_methods_and_head_has_no_body(server: Server) -> None:
    options = requests.options(f"{server.url}/score", timeout=10)
    head = requests.head(f"{server.url}/v2", timeout=10)
    assert (options.status_code, sorted(options.headers["Allow"].split(", "))) == (200, ["OPTIONS", "POST"])
    assert (head.status_code, head.content) == (200, b"")
