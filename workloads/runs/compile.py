"""From a pipeline's Python to its package, and what tells whether that must be done again."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

import yaml

from settings.paths import PROJECT
from workloads.components import BASE_IMAGE

BACKOFF = {"backoffDuration": "5s", "backoffFactor": 2.0, "backoffMaxDuration": "604800s"}
"""The pause before the second try, by what it grows, and for how long to try: a run's own limit comes first."""
LIBRARIES = ("kfp", "scikit-learn", "numpy", "pandas", "onnx", "skl2onnx", "onnxruntime", "mlflow")


def compiled(pipeline: str, image: str, retries: int) -> str:
    """The package (IR YAML) of a pipeline, its components' base image replaced by `image`.

    A step that fails is tried again up to `retries` times, if the pipeline does not say it otherwise.

    Raises:
        ValueError: there is no such pipeline, or more than one in its file.
    """
    from kfp import compiler

    from workloads import pipelines

    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / "package.yaml"
        compiler.Compiler().compile(pipelines.load(pipeline), str(package))
        text = package.read_text().replace(f"image: {BASE_IMAGE}\n", f"image: {image}\n")
    return _with_retries(text, retries) if retries else text


def _with_retries(package: str, retries: int) -> str:
    pipeline, *more = yaml.safe_load_all(package)
    for component in [pipeline["root"], *pipeline["components"].values()]:
        for task in component.get("dag", {}).get("tasks", {}).values():
            if "executorLabel" in pipeline["components"][task["componentRef"]["name"]]:
                task.setdefault("retryPolicy", {"maxRetryCount": retries, **BACKOFF})
    return str(yaml.safe_dump_all([pipeline, *more]))


def sources(pipeline: str) -> str:
    """Digest of the files that a pipeline's package is made of."""
    workloads = PROJECT / "workloads"
    own = workloads / "pipelines" / f"{pipeline.replace('-', '_')}.py"
    return digest([own, *workloads.glob("components/**/*.yaml"), *workloads.glob("components/**/*.py")])


def local_image() -> str:
    """The image that this computer's environment stands for: what components import, and its libraries' versions."""
    files = (PROJECT / "workloads" / "ml").rglob("*.py")
    versions = " ".join(f"{name} {version(name)}" for name in LIBRARIES)
    return f"{BASE_IMAGE}:{hashlib.sha256((digest(files) + versions).encode()).hexdigest()[:12]}"


def digest(files: Iterable[Path]) -> str:
    """SHA-256 of the files' names and contents, whatever order they come in; those that are not there do not count."""
    found = hashlib.sha256()
    for file in sorted(files):
        if file.is_file():
            found.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return found.hexdigest()
