"""The libraries that the container image of the server must have."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import model_server

IN_THE_IMAGE = {
    "flask",
    "google",
    "granian",
    "grpc",
    "numpy",
    "onnx",
    "onnxruntime",
    "orjson",
    "prometheus_client",
    "pydantic",
    "requests",
    "simdjson",
}
WITH_FLASK = {"werkzeug"}


def test_model_server_imports_only_libraries_of_its_image() -> None:
    imported = set()
    for file in Path(model_server.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                imported |= {name.name.split(".")[0] for name in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add(str(node.module).split(".")[0])
    assert imported - sys.stdlib_module_names == IN_THE_IMAGE | WITH_FLASK | {"model_server"}
