"""The content of images, and the tags that follow from it."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from mlplatform.images.builders import Buildah
from mlplatform.images.image import LIBRARIES, MODEL_SERVER, NOTEBOOKS, RECIPES, WORKLOADS, Recipe
from mlplatform.images.locked_packages import bill_of_materials, locked_packages
from mlplatform.images.registry_client import RegistryClient

from infra.dynamic_provider import UserError
from settings.paths import PROJECT
from workloads.engines.base import RunRequest
from workloads.engines.job.job_manifests import dask_manifest, job_manifest
from workloads.engines.pod_dask import DaskPods
from workloads.runs.pipeline_sources import local_image


@pytest.mark.skipif(os.getuid() != 0 or shutil.which("buildah") is None, reason="builds need root and buildah")
def test_build_deletes_what_a_killed_build_left(tmp_path: Path) -> None:
    storage, context = tmp_path / "buildah", tmp_path / "context"
    context.mkdir()
    (context / "file").write_text("content")
    (context / "Dockerfile").write_text("FROM scratch AS stage\nCOPY file /\n")
    registry = RegistryClient("127.0.0.1:1", "user", "word", "")
    buildah = Buildah(storage)

    def run(*arguments: str) -> str:
        (root,) = (each for each in storage.iterdir() if not each.name.endswith("-run"))
        options = ["--root", root, "--runroot", f"{root}-run", "--storage-driver", root.name]
        return subprocess.run(["buildah", *options, *arguments], check=True, capture_output=True, text=True).stdout

    buildah.build(context, "stage", None, "image", registry)
    run("from", "image")
    assert run("containers", "--quiet") != ""
    buildah.build(context, "stage", None, "image", registry)
    assert run("containers", "--quiet") == ""


def test_model_server_packages_are_only_those_of_the_server() -> None:
    names = {package.name for package in MODEL_SERVER.packages()}
    assert {"flask", "granian", "onnxruntime", "werkzeug", "pydantic-core"} <= names
    assert not names & {"mlflow", "kfp", "scikit-learn", "pandas", "pulumi"}


def test_workloads_packages_have_the_versions_and_hashes_of_the_lock() -> None:
    packages = {package.name: package for package in WORKLOADS.packages()}
    assert {"kfp", "mlflow", "scikit-learn", "onnx", "s3fs", "azure-storage-blob"} <= set(packages)
    assert not {"pulumi", "pulumi-kubernetes", "pytest"} & set(packages)
    text = (PROJECT / "uv.lock").read_text()
    assert all(f'name = "{package.name}"\nversion = "{package.version}"' in text for package in packages.values())
    assert all(
        package.hashes and all(each.startswith("sha256:") for each in package.hashes) for package in packages.values()
    )


@pytest.mark.parametrize(
    ("requirements", "message"),
    [("flask\nleft-pad\n", "no package left-pad"), ("flask[rocket]\n", "flask without rocket")],
)
def test_locked_packages_missing_in_the_lock_are_named(tmp_path: Path, requirements: str, message: str) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text(requirements)
    with pytest.raises(UserError, match=message):
        locked_packages(file)


def test_recipe_files_are_the_code_that_runs_in_the_image() -> None:
    files = {file.relative_to(PROJECT).as_posix() for file in WORKLOADS.files()}
    assert {
        "workloads/engines/pod_entrypoint.py",
        "workloads/engines/kfp_runner.py",
        "workloads/ml/model_registry.py",
    } <= files
    assert not files & {"workloads/engines/job/job_engine.py", "workloads/runs/resources.py", "workloads/deploy.py"}
    assert "model_server/http/templates/page.html" in {
        file.relative_to(PROJECT).as_posix() for file in MODEL_SERVER.files()
    }


def test_programs_of_pods_are_in_the_image_of_the_steps() -> None:
    request = RunRequest("iris", "iris-1", "v1", {}, key="0123456789abcdef")
    run = job_manifest("iris", request, "image")
    job = SimpleNamespace(metadata=SimpleNamespace(name="iris", uid="1"))
    workers = dask_manifest("iris-dask", job, request, "image", DaskPods("tcp://192.0.2.1:8786", 1, "1Gi"))
    for manifest in (run, workers):
        (container,) = manifest["spec"]["template"]["spec"]["containers"]
        module = container["command"][container["command"].index("-m") + 1]
        assert PROJECT / f"{module.replace('.', '/')}.py" in WORKLOADS.files()


def test_page_creates_a_repository_for_each_image() -> None:
    page = (PROJECT / "docs" / "stacks.md").read_text()
    (names,) = re.findall(r"for name in (.+); do aws ecr create-repository --repository-name mlplatform/\$name;", page)
    assert names.split() == list(RECIPES)


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=list(RECIPES))
def test_modules_that_a_recipe_imports_are_in_its_image(recipe: Recipe) -> None:
    files = set(recipe.files())
    imported = {module for file in files if file.suffix == ".py" for module in project_imports(file)}
    assert imported - files <= {PORT_FORWARD}


PORT_FORWARD = PROJECT / "infra/kubernetes_client/client.py"
"""A module that only a port-forward from outside the cluster needs."""


def project_imports(file: Path) -> Iterator[Path]:
    """Yield the modules of this project that a file imports, also within its functions."""
    for node in ast.walk(ast.parse(file.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
        if isinstance(node, ast.ImportFrom):
            names = [str(node.module), *(f"{node.module}.{name}" for name in names)]
        for name in names:
            path = PROJECT / name.replace(".", "/").replace("mlplatform", "platform", 1)
            yield from (each for each in (path.with_suffix(".py"), path / "__init__.py") if each.is_file())


def test_image_of_notebooks_has_the_files_that_a_pipeline_of_a_cell_reads(tmp_path: Path) -> None:
    for file in NOTEBOOKS.files():
        copy = tmp_path / file.relative_to(PROJECT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, copy)
    program = "import workloads.runs.pipeline_sources as sources; print(sources.__file__, sources.local_image())"
    variables = os.environ | {"PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-c", program]
    finished = subprocess.run(command, env=variables, cwd=tmp_path, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.split() == [f"{tmp_path}/workloads/runs/pipeline_sources.py", local_image()]


def test_recipe_tag_changes_with_a_file_of_the_image_only(monkeypatch: pytest.MonkeyPatch) -> None:
    before = {name: recipe.tag() for name, recipe in RECIPES.items()}
    read = Path.read_bytes

    def changed(self: Path) -> bytes:
        return read(self) + (b"\n" if self.as_posix().endswith("workloads/ml/evaluation/verdict.py") else b"")

    monkeypatch.setattr(Path, "read_bytes", changed)
    after = {name: recipe.tag() for name, recipe in RECIPES.items()}
    assert {name for name in after if after[name] != before[name]} == {WORKLOADS.name, NOTEBOOKS.name}
    assert before[LIBRARIES.name] != before[WORKLOADS.name]


def test_bill_of_materials_lists_each_package_and_is_reproducible() -> None:
    packages = MODEL_SERVER.packages()
    text = bill_of_materials("model_server", packages)
    bill = json.loads(text)
    assert bill["specVersion"] == "1.6"
    assert {(c["name"], c["version"]) for c in bill["components"]} == {
        (package.name, package.version) for package in packages
    }
    assert text == bill_of_materials("model_server", packages)
