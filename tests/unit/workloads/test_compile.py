"""Compilation of pipelines in the threads of one provider process, as `pulumi up` starts it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

import pytest
from mlplatform.engine_config import EmbeddedEngineConfig, engine_inputs
from pulumi.output import UNKNOWN

from infra.dynamic_provider import UserError
from settings.paths import PROJECT
from workloads.runs.compile import compile_pipeline
from workloads.runs.resources import _CompiledPipelineProvider, _PipelineVersionProvider

FOLDERS = ("infra", "settings", "tools", "workloads")
CHANGED_FILE = """
from pathlib import Path

from tests_helpers import package, write

write("changing", "from workloads.helper import TEXT", "text: str = TEXT")
values = []
for value in ("before", "after it"):
    Path("workloads/helper.py").write_text(f"TEXT = {value!r}")
    values.append(package("changing")["parameters"]["text"]["defaultValue"])
assert values == ["before", "after it"], values
"""
FOUR_THREADS = """
from concurrent.futures import ThreadPoolExecutor

from tests_helpers import package, write

names = ["slow1", "slow2", "iris-local", "iris-external"]
for name in names[:2]:
    write(name, "import time", "", "time.sleep(0.3)")
with ThreadPoolExecutor(len(names)) as threads:
    rounds = [list(threads.map(package, names)) for _ in range(3)]
serial = [package(name) for name in names]
assert len({each["sha256"] for each in serial}) == len(names)
assert rounds == [serial] * 3
"""
BROKEN_FILES = """
from infra.dynamic_provider import UserError
from tests_helpers import package, write

write("broken", "print('some text')\\nraise ValueError('a broken file')", "")
write("ending", "import os\\nos._exit(3)", "")
for name, reason in (("broken", "a broken file"), ("ending", "its file ended the compiler with code 3")):
    try:
        raise AssertionError(package(name))
    except UserError as error:
        assert str(error) == f"workloads/pipelines: {name} does not compile: {reason}", error
assert package("iris-local")["sha256"]
"""
HELPERS = """
from pathlib import Path

from workloads.runs.resources import _CompiledPipelineProvider


def package(pipeline):
    props = {"pipeline": pipeline, "image": "registry.example/steps:1", "retries": 0.0, "sources": ""}
    return _CompiledPipelineProvider().create(props).outs


def write(name, header, parameters, statement="pass"):
    Path(f"workloads/pipelines/{name}.py").write_text(f'''
from kfp import dsl
{header}

@dsl.pipeline(name="{name}")
def pipeline({parameters}):
    {statement}
    dsl.importer(artifact_uri="file:///nothing", artifact_class=dsl.Dataset)
''')
"""


@pytest.mark.parametrize("program", [FOUR_THREADS, CHANGED_FILE, BROKEN_FILES], ids=["threads", "changed", "broken"])
def test_create_of_packages_in_one_process_equals_a_compile_in_its_own_process(tmp_path: Path, program: str) -> None:
    for folder in FOLDERS:
        shutil.copytree(PROJECT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "tests_helpers.py").write_text(HELPERS)
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )
    assert (result.returncode, result.stdout) == (0, ""), result.stderr


def test_package_that_another_one_replaces_is_deleted(tmp_path: Path) -> None:
    engine = engine_inputs(EmbeddedEngineConfig(str(tmp_path)))
    base = {"engine": engine, "pipeline": "smoke-test", "secrets": [], "timeout_minutes": 5}

    def inputs(retries: int) -> dict[str, Any]:
        package = compile_pipeline("smoke-test", "mlplatform/python-workloads:1", retries)
        return {**base, "ir": package.ir, "sha256": package.sha256}

    provider = _PipelineVersionProvider()
    first = dict(provider.create(inputs(0)).outs or {})
    second = dict(provider.update("id", first, inputs(1)).outs or {})
    assert [str(file) for file in tmp_path.rglob("*.yaml")] == [second["version_id"]]
    again = dict(provider.update("id", second, inputs(1) | {"timeout_minutes": 6}).outs or {})
    assert Path(again["version_id"]).is_file()
    provider.delete("id", again)
    assert not list(tmp_path.rglob("*.yaml"))


def test_diff_of_a_package_with_an_image_that_the_preview_does_not_know_is_a_change() -> None:
    state: dict[str, Any] = {"pipeline": "iris-local", "image": "steps@sha256:1", "retries": 0.0, "sources": "a"}
    diff = _CompiledPipelineProvider().diff("iris-local", state | {"sha256": "b"}, state | {"image": UNKNOWN})
    assert diff.changes is True


def test_create_of_a_package_or_version_that_is_refused_shows_its_error_once() -> None:
    package: dict[str, Any] = {"pipeline": "no-such-pipeline", "image": "steps", "retries": 0.0, "sources": "a"}
    with pytest.raises(UserError, match=r"no-such-pipeline does not compile: .* does not exist") as refused:
        _CompiledPipelineProvider().create(package)
    assert "".join(traceback.format_exception(refused.value)).count("does not exist") == 1
    version = {"engine": engine_inputs(EmbeddedEngineConfig("/nonexistent")), "pipeline": "p", "sha256": "0" * 64}
    ir = compile_pipeline("smoke-test", "", 0).ir.replace("executor_main", "other_main")
    with pytest.raises(UserError, match="step do-nothing is a container component") as refused:
        _PipelineVersionProvider().create(version | {"ir": ir, "secrets": [], "timeout_minutes": 5.0})
    assert "direct cause" not in "".join(traceback.format_exception(refused.value))
