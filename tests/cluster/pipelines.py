"""Small pipelines for tests of engines. kfp needs annotations as objects, so this file has no future import."""

from pathlib import Path
from typing import Any

from kfp import dsl
from kfp.compiler import Compiler


@dsl.component(base_image="mlplatform/python-workloads", install_kfp_package=False)
def double(value: int) -> int:
    print(f"doubling {value}")
    return 2 * value


@dsl.component(base_image="mlplatform/python-workloads", install_kfp_package=False)
def measure(text: str) -> int:
    return len(text)


@dsl.component(base_image="mlplatform/python-workloads", install_kfp_package=False)
def invert(value: int) -> float:
    return 1 / value


@dsl.component(base_image="mlplatform/python-workloads", install_kfp_package=False)
def sleep(seconds: int, value: int) -> int:
    import time

    time.sleep(seconds)
    return value


@dsl.component(base_image="mlplatform/python-workloads", install_kfp_package=False)
def fail(value: int) -> int:
    raise ValueError(f"{value} is no good")


@dsl.component(base_image="mlplatform/python-workloads", install_kfp_package=False)
def probe() -> str:
    """Return the rights and files of the step, and the digest of a secret."""
    import hashlib
    import json
    import os
    from pathlib import Path

    def can(action: object) -> bool:
        try:
            action()  # type: ignore[operator]
        except OSError:
            return False
        return True

    found = {
        "user": os.getuid(),
        "writes_root": can(lambda: Path("/opt/mlplatform/x").touch()),
        "token": Path("/var/run/secrets/kubernetes.io/serviceaccount/token").exists(),
        "secret": hashlib.sha256(os.environ.get("A_SECRET", "").encode()).hexdigest(),
        "service_variables": sorted(name for name in os.environ if name.endswith("_SERVICE_HOST")),
    }
    return json.dumps(found)


@dsl.component(base_image="mlplatform/python-workloads", install_kfp_package=False)
def write(text: str, page: dsl.Output[dsl.Dataset]) -> str:
    from pathlib import Path

    Path(page.path).write_text(text)
    return str(page.uri)


@dsl.pipeline(name="double")
def doubling(value: int) -> int:
    return double(value=value).output


@dsl.pipeline(name="measuring-all")
def measuring_all(texts: list) -> list:
    with dsl.ParallelFor(texts) as text:  # Kubeflow passes the items of a list as text
        result = measure(text=text)
    return dsl.Collected(result.output)


@dsl.pipeline(name="inverting-all")
def inverting_all(values: list) -> list:
    with dsl.ParallelFor(values) as value:
        result = invert(value=value)
    return dsl.Collected(result.output)


@dsl.pipeline(name="slow")
def slow(seconds: int, value: int) -> int:
    return sleep(seconds=seconds, value=value).output


@dsl.pipeline(name="slow-and-patient")
def slow_and_patient(seconds: int, value: int) -> int:
    task = sleep(seconds=seconds, value=value)
    task.set_retry(num_retries=4, backoff_duration="5s", backoff_factor=2.0)
    return task.output


@dsl.pipeline(name="slow-then-double")
def slow_then_double(seconds: int, value: int) -> int:
    return double(value=sleep(seconds=seconds, value=value).output).output


@dsl.pipeline(name="failing")
def failing(value: int) -> int:
    return fail(value=double(value=value).output).output


@dsl.pipeline(name="probing")
def probing() -> str:
    task = probe()
    task.set_caching_options(False)
    return task.output


@dsl.pipeline(name="naming")
def naming(run_key: str) -> str:
    return write(text=run_key).outputs["Output"]


@dsl.pipeline(name="writing")
def writing(text: str) -> str:
    return write(text=text).outputs["Output"]


def package(pipeline: Any, folder: Path) -> str:
    """Return the compiled package (IR YAML)."""
    file = folder / f"{pipeline.name}.yaml"
    Compiler().compile(pipeline, str(file))
    return file.read_text()
