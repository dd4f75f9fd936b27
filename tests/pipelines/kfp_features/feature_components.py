"""Components of the pipelines in `features`. kfp needs annotations as objects, so this file has no future import."""

from typing import Dict, List, Optional

from kfp import dsl

from workloads.components import component


@component
def echo(text: str) -> str:
    return text


@component
def join(texts: list) -> str:
    return " ".join(str(text) for text in texts)


@component
def list_stages(names: list) -> List[Dict[str, str]]:
    return [{"name": name, "next": f"{name}2"} for name in names]


@component
def double(number: int) -> int:
    return 2 * number


@component
def describe(
    note: Optional[str] = None,
    sizes: Optional[List[int]] = None,
    options: Optional[Dict[str, float]] = None,
    deep: Optional[bool] = None,
) -> str:
    return f"{note!r} {sizes!r} {options!r} {deep!r}"


@component
def fail(number: int) -> str:
    raise SystemExit(f"{number} is no good")


@component
def clean_up(text: str = "nothing") -> str:
    return text


@component
def last_words(status: dsl.PipelineTaskFinalStatus) -> str:
    return f"{status.pipeline_task_name} {status.state}: {status.error_message}"


@component
def not_a_number() -> float:
    return float("nan")


@component
def many_texts() -> list:
    return ["x" * 100] * 2000


@component
def write(number: int, file: dsl.Output[dsl.Dataset]) -> int:
    from pathlib import Path

    Path(file.path).write_text(str(number))
    return number


@component
def read(file: dsl.Input[dsl.Dataset]) -> str:
    from pathlib import Path

    return f"{Path(file.path).read_text().strip()} {file.metadata}"


@component
def read_all(files: dsl.Input[List[dsl.Dataset]]) -> str:
    from pathlib import Path

    return " ".join(Path(file.path).read_text() for file in files)


@component
def write_types(
    artifact: dsl.Output[dsl.Artifact],
    model: dsl.Output[dsl.Model],
    metrics: dsl.Output[dsl.Metrics],
    table: dsl.Output[dsl.ClassificationMetrics],
    slices: dsl.Output[dsl.SlicedClassificationMetrics],
    page: dsl.Output[dsl.HTML],
    text: dsl.Output[dsl.Markdown],
) -> None:
    from pathlib import Path

    for each in (artifact, model, page, text):
        Path(each.path).write_text(each.schema_title)
    model.metadata["framework"] = "none"
    metrics.log_metric("accuracy", 0.5)
    table.log_confusion_matrix(["a", "b"], [[1, 2], [3, 4]])


@component
def read_types(
    artifact: dsl.Input[dsl.Artifact],
    model: dsl.Input[dsl.Model],
    metrics: dsl.Input[dsl.Metrics],
    table: dsl.Input[dsl.ClassificationMetrics],
    page: dsl.Input[dsl.HTML],
    text: dsl.Input[dsl.Markdown],
) -> str:
    from pathlib import Path

    found = [Path(each.path).read_text() for each in (artifact, model, page, text)]
    return f"{found} {model.framework} {metrics.metadata} {table.metadata['confusionMatrix']['rows'][1]}"


@component
def make_pythonic(number: int) -> dsl.Dataset:
    from pathlib import Path

    made = dsl.Dataset(uri=dsl.get_uri(suffix="made"), metadata={"number": number})
    Path(made.path).write_text(str(number))
    return made


@component
def write_paths(
    number: dsl.OutputPath(int),  # type: ignore[valid-type]
    flag: dsl.OutputPath(bool),  # type: ignore[valid-type]
    file: dsl.OutputPath("Dataset"),  # type: ignore[valid-type]
) -> None:
    from pathlib import Path

    for path, text in ((number, "3"), (flag, "True"), (file, "written")):
        Path(path).write_text(text)


@component
def read_paths(file: dsl.InputPath("Dataset"), number: int, flag: bool) -> str:  # type: ignore[valid-type]
    from pathlib import Path

    return f"{Path(file).read_text()} {number!r} {flag!r}"


@component
def read_variable() -> str:
    import os

    return os.environ["A_VARIABLE"]


@component
def succeed_later(mark: str) -> str:
    from pathlib import Path

    if not Path(mark).exists():
        Path(mark).write_text("")
        raise SystemExit("not yet")
    return "at the second attempt"


@dsl.component(base_image="python:3.11", packages_to_install=["numpy"])
def mean(values: list) -> float:
    import numpy

    return float(numpy.mean(values))
