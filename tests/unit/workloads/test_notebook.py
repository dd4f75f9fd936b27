"""Presets of a notebook, and the errors of its functions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from infra.errors import UserError
from workloads.ml.data.storage import TOKEN_VARIABLE
from workloads.notebook import PRESETS, notebook_variables, read_blob, run_pipeline
from workloads.pipelines import load_pipeline

STORE = {"account_url": "http://127.0.0.1:1/datasets", "container": "datasets"}


@pytest.fixture
def presets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in notebook_variables("http://127.0.0.1:1", None, tmp_path).items():
        monkeypatch.setenv(name, value)


def test_variables_have_the_token_of_the_store_apart(tmp_path: Path) -> None:
    variables = notebook_variables("http://127.0.0.1:1", {**STORE, "token": "sig=1"}, tmp_path)
    assert variables[TOKEN_VARIABLE] == "sig=1"
    assert json.loads(variables[PRESETS])["store"] == STORE


def test_run_pipeline_with_a_wrong_argument_names_those_that_exist(presets: None) -> None:
    with pytest.raises(UserError, match=r"run_pipeline\(iris-local\): the pipeline has no parameter sede; .*seed"):
        run_pipeline(load_pipeline("iris-local"), sede=1)


def test_read_blob_without_a_store_names_the_setting(presets: None) -> None:
    with pytest.raises(UserError, match="platform:blobs"):
        read_blob("iris.csv")


def test_read_blob_outside_of_make_notebook_names_the_command() -> None:
    with pytest.raises(UserError, match="`make notebook`"):
        read_blob("iris.csv")
