"""Libraries that would send usage reports to their makers, in processes with an empty home folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SESSION = """
import numpy, onnx.parser, onnxruntime
model = onnx.parser.parse_model('<ir_version: 8, opset_import: ["": 17]> g (float[1] x) => (float[1] y) { y = Abs(x) }')
onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": numpy.zeros(1, numpy.float32)})
"""
MLFLOW = """
from mlflow.telemetry.utils import is_telemetry_disabled
assert is_telemetry_disabled()
"""


NOTEBOOK = """
import pathlib, workloads.notebook
variables = workloads.notebook.notebook_variables("", None, pathlib.Path("/tmp"))
names = {"MLFLOW_DISABLE_TELEMETRY", "ORT_DISABLE_TELEMETRY"}
assert names <= variables.keys(), variables
"""


@pytest.mark.parametrize(
    "program",
    [
        f"import model_server.model.model\n{SESSION}",
        f"import workloads.ml\n{SESSION}",
        f"import workloads.mlflow_session\n{MLFLOW}",
        NOTEBOOK,
    ],
    ids=["model server", "steps", "MLflow's client", "notebook"],
)
def test_programs_keep_no_identifier_for_usage_reports(program: str, tmp_path: Path) -> None:
    # MLflow sends no reports in CI, and none where a variable of pytest is set.
    plain = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    subprocess.run([sys.executable, "-c", program], env=plain, check=True)
    assert not list(tmp_path.rglob("*/Microsoft"))
