"""Features of kfp, each with the same result with every engine, or refused before a step runs."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from kfp.compiler import Compiler
from mlplatform.engine_config import EmbeddedEngineConfig

from settings.paths import PROJECT
from tests.pipelines.conftest import run
from tests.pipelines.kfp_features import features, refused_features
from tests.pipelines.kfp_features.features_page import FAILURES, NO_ENGINE, OUTPUTS, REFUSALS, page
from workloads.engines.base import RunRequest
from workloads.engines.dag.package_support import UnsupportedPackage, require_portable, require_support
from workloads.engines.job.job_engine import JobEngine
from workloads.engines.local_engine import EmbeddedEngine
from workloads.engines.pod_entrypoint import RESULT_PREFIX, RUN_VARIABLE, decode_result


def package(pipeline: Any, folder: Path) -> str:
    """Return the compiled package of a pipeline."""
    file = folder / f"{pipeline.name}.yaml"
    Compiler().compile(pipeline, str(file))
    return file.read_text()


@pytest.fixture(scope="module")
def arguments(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("arguments")
    (folder / "table.csv").write_text("a table\n")
    return {"file": str(folder / "table.csv"), "mark": str(folder / "mark")}


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory, arguments: dict[str, str]) -> dict[str, Any]:
    """Return the result of all features with the engine `embedded`, without an index of packages."""
    folder = tmp_path_factory.mktemp("embedded")
    engine = EmbeddedEngine(EmbeddedEngineConfig(str(folder)))
    version = engine.upload("features", "1", package(features.features, folder), [], 10)
    secrets = {"PIP_INDEX_URL": "http://127.0.0.1:1/simple"}
    result = engine.run(RunRequest("features", "features-1", version, arguments, secrets, timeout_minutes=10))
    Path(arguments["mark"]).unlink()
    return {"state": result.state, "outputs": result.outputs, "steps": result.steps, "error": result.error}


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory, arguments: dict[str, str], mlflow_url: str) -> dict[str, Any]:
    """Return the result of all features with the program of the engine `job`."""
    folder = tmp_path_factory.mktemp("job")
    (folder / "package.yaml.gz").write_bytes(gzip.compress(package(features.features, folder).encode()))
    request = {"pipeline": "features", "run_id": "features-1", "arguments": arguments, "tracking_url": mlflow_url}
    (folder / "run").mkdir()
    program = [sys.executable, "-m", "tests.pipelines.kfp_features.pods", "package.yaml.gz", "run"]
    ended = subprocess.run(
        program,
        cwd=folder,
        env=os.environ | {RUN_VARIABLE: json.dumps(request), "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [line for line in ended.stdout.splitlines() if line.startswith(RESULT_PREFIX)]
    assert lines, ended.stdout + ended.stderr
    return decode_result(lines[0])


@pytest.mark.parametrize("engine", ["embedded", "job"])
def test_run_of_all_features_has_the_outputs_of_the_page(engine: str, request: pytest.FixtureRequest) -> None:
    result = request.getfixturevalue(engine)
    assert (result["state"], result["error"]) == ("SUCCEEDED", "")
    assert result["outputs"] == OUTPUTS
    assert type(result["outputs"]["plain"]) is float


def test_steps_of_both_engines_are_the_same(embedded: dict[str, Any], job: dict[str, Any]) -> None:
    def comparable(result: dict[str, Any]) -> list[Any]:
        return sorted((step["name"], step["state"], str(step["parameters"])) for step in result["steps"])

    assert comparable(job) == comparable(embedded)


def test_steps_of_iterations_have_their_own_names_outputs_and_artifacts(job: dict[str, Any]) -> None:
    steps = {step["name"]: step for step in job["steps"]}
    texts = {name: step["parameters"]["Output"] for name, step in steps.items() if name.startswith("loop-in-loop")}
    prefix = "loop-in-loop/echo"
    assert texts == {f"{prefix}:0.0": "ax", f"{prefix}:0.1": "ay", f"{prefix}:1.0": "bx", f"{prefix}:1.1": "by"}
    chosen = [name for name in steps if name.startswith("loop-of-mappings/")]
    assert sorted(chosen) == ["loop-of-mappings/echo-2:1", "loop-of-mappings/echo-3", "loop-of-mappings/echo:1"]
    assert steps["loop-of-mappings/echo-2:1"]["parameters"] == {"Output": "deploy prod"}
    addresses = [steps[f"loop-of-files/write:{index}"]["artifacts"][0]["uri"] for index in range(3)]
    assert len(set(addresses)) == 3
    assert all(address.startswith("mlflow-artifacts:/") for address in addresses)


@pytest.mark.parametrize("name", FAILURES)
def test_run_that_fails_names_the_step(tmp_path: Path, name: str) -> None:
    step, error = FAILURES[name]
    ended = run(tmp_path / "run", getattr(features, name))
    assert (ended.result["state"], ended.result["failed_step"]) == ("FAILED", step)
    assert ended.result["error"].startswith(error)
    outputs = {each["name"]: each["parameters"].get("Output") for each in ended.result["steps"]}
    expected = {
        "cleaned_up": {"fail": None, "last-words": "exit-handler-1 FAILED: 3 is no good"},
        "ignored": {"fail": None, "clean-up": "nothing"},
        "infinite": {"not-a-number": None},
        "long_parameter": {"many-texts": ["x" * 100] * 2000, "join": None},
        "failing_loop": {"double:0": 2, "double:1": 4, "fail:1": None},
    }
    assert outputs == expected[name]


def test_error_of_a_long_parameter_names_the_largest_input_and_the_remedy(tmp_path: Path) -> None:
    ended = run(tmp_path / "run", features.long_parameter)
    assert ended.result["error"].endswith(
        "bytes, and Linux allows 131,071; its largest input is texts, with 208,000 bytes: write it to a file, and pass "
        "the file as an artifact or by its address"
    )


@pytest.mark.parametrize("name", REFUSALS)
def test_upload_of_a_refused_feature_names_it(tmp_path: Path, name: str) -> None:
    ir = package(getattr(refused_features, name), tmp_path)
    for engine in (EmbeddedEngine(EmbeddedEngineConfig(str(tmp_path))), JobEngine.__new__(JobEngine)):
        with pytest.raises(UnsupportedPackage) as refusal:
            engine.upload("refused", "1", ir, [], 10)
        assert str(refusal.value).startswith(REFUSALS[name])
    documents = list(yaml.safe_load_all(ir))
    if name in NO_ENGINE:
        with pytest.raises(UnsupportedPackage):
            require_portable(documents)
    else:
        require_portable(documents)


def test_package_that_reads_a_secret_of_a_cluster_is_refused(tmp_path: Path) -> None:
    documents = list(yaml.safe_load_all(package(features.optional, tmp_path)))
    settings = {"executors": {"exec-describe": {"secretAsEnv": [{}]}}}
    documents.append({"platforms": {"kubernetes": {"deploymentSpec": settings}}})
    with pytest.raises(UnsupportedPackage, match=r"^step describe reads a Secret of a cluster; set platform:pipelines"):
        require_support(documents)


def test_run_whose_image_needs_a_missing_python_starts_no_step(tmp_path: Path) -> None:
    ir = package(features.plain, tmp_path).replace("python:3.11", "python:3.99")
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "package.yaml").write_text(ir)
    (folder / "arguments.json").write_text("{}")
    command = [sys.executable, "-m", "workloads.engines.kfp_runner", str(folder)]
    assert subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode == 1
    result = json.loads((folder / "result.json").read_text())
    assert (result["failed_step"], result["steps"]) == (None, [])
    assert result["error"].startswith("step mean: the image python:3.99 needs Python 3.99, but steps run with Python")


def test_page_of_features_is_generated() -> None:
    assert (PROJECT / "docs" / "reference" / "kfp-features.md").read_text() == page()
