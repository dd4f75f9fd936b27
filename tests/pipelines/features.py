"""Pipelines with one feature of kfp each. kfp needs annotations as objects, so this file has no future import."""

from typing import NamedTuple  # what kfp's documentation shows

from kfp import dsl

from workloads.components import component


@component
def echo(text: str) -> str:
    return text


@component
def join(texts: list) -> str:
    return " ".join(str(text) for text in texts)


@component
def double(number: int) -> int:
    return 2 * number


@component
def describe(
    note: str | None = None,
    sizes: list[int] | None = None,
    options: dict[str, float] | None = None,
    deep: bool | None = None,
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
def write(number: int, file: dsl.Output[dsl.Dataset]) -> int:
    from pathlib import Path

    Path(file.path).write_text(str(number))
    return number


@component
def read(file: dsl.Input[dsl.Dataset]) -> str:
    from pathlib import Path

    return f"{Path(file.path).read_text().strip()} {file.metadata}"


@component
def read_all(files: dsl.Input[list[dsl.Dataset]]) -> str:
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
):
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
def write_paths(number: dsl.OutputPath(int), flag: dsl.OutputPath(bool), file: dsl.OutputPath("Dataset")):
    from pathlib import Path

    for path, text in ((number, "3"), (flag, "True"), (file, "written")):
        Path(path).write_text(text)


@component
def read_paths(file: dsl.InputPath("Dataset"), number: int, flag: bool) -> str:
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


@dsl.pipeline(name="branch")
def branch(side: str = "tails") -> str:
    """`dsl.If`, `dsl.Elif`, `dsl.Else` and `dsl.OneOf`."""
    coin = echo(text=side)
    with dsl.If(coin.output == "heads"):
        heads = echo(text="up")
    with dsl.Elif(coin.output == "tails"):
        tails = echo(text="down")
    with dsl.Else():
        edge = echo(text="edge")
    return dsl.OneOf(heads.output, tails.output, edge.output)


@dsl.pipeline(name="loop-in-loop")
def loop_in_loop(outer: list[str] = ["a", "b"]) -> list[str]:
    """`dsl.ParallelFor` in `dsl.ParallelFor`, and `dsl.Collected` of both: a nested list."""
    with dsl.ParallelFor(outer, parallelism=1) as one, dsl.ParallelFor(["x", "y"]) as two:
        pair = echo(text=f"{one}{two}")
    return dsl.Collected(pair.output)


@dsl.pipeline(name="loop-of-mappings")
def loop_of_mappings(stages: list = [{"name": "test", "on": "no"}, {"name": "prod", "on": "yes"}]) -> str:
    """A loop over mappings, with a condition on the item, and a field called `name`."""
    with dsl.ParallelFor(stages) as stage, dsl.If(stage.on == "yes"):
        echo(text=stage.name)
        echo(text=f"deploy {stage.name}")
    return echo(text="done").output


@dsl.pipeline(name="loop-over-field")
def loop_over_field(tables: list = [{"title": "t", "sizes": [1, 2]}, {"title": "u", "sizes": [3]}]) -> list[int]:
    """A loop over a field of another loop's item, a list of numbers, with formatted texts of both items."""
    with dsl.ParallelFor(tables) as table, dsl.ParallelFor(table.sizes) as size:
        twice = double(number=size)
        with dsl.If(twice.output > 2):
            echo(text=f"{table.title} {size}")
    return dsl.Collected(twice.output)


@dsl.pipeline(name="loop-of-files")
def loop_of_files(numbers: list[int] = [3, 1, 2]) -> str:
    """`dsl.Collected` of artifacts and `Input[List[Dataset]]`."""
    with dsl.ParallelFor(numbers, parallelism=2) as number:
        written = write(number=number)
    return read_all(files=dsl.Collected(written.outputs["file"])).output


@dsl.pipeline(name="loop-over-nothing")
def loop_over_nothing(numbers: list[int] = []) -> list[int]:
    """A loop over an empty list."""
    with dsl.ParallelFor(numbers) as number:
        twice = double(number=number)
    return dsl.Collected(twice.output)


@dsl.pipeline(name="optional")
def optional(note: str | None = None, sizes: list[int] = [8, 16], options: dict[str, float] = {"lr": 0.1}) -> str:
    """Optional inputs, lists and mappings."""
    return describe(note=note, sizes=sizes, options=options).output


@dsl.pipeline(name="artifact-types")
def artifact_types() -> str:
    """Artifacts of every type that the documentation lists, and their metadata."""
    made = write_types().outputs
    names = ("artifact", "model", "metrics", "table", "page", "text")
    return read_types(**{name: made[name] for name in names}).output


@dsl.pipeline(name="pythonic")
def pythonic() -> str:
    """Artifacts as return values, with `dsl.get_uri`."""
    return read(file=make_pythonic(number=4).output).output


@dsl.pipeline(name="paths")
def paths() -> str:
    """`dsl.OutputPath` and `dsl.InputPath`."""
    made = write_paths().outputs
    return read_paths(file=made["file"], number=made["number"], flag=made["flag"]).output


@dsl.pipeline(name="imported")
def imported(file: str) -> str:
    """`dsl.importer` with a path, a `file://` address or an `http://` address, and with metadata."""
    found = dsl.importer(artifact_uri=file, artifact_class=dsl.Dataset, reimport=True, metadata={"source": "a table"})
    return read(file=found.output).output


@dsl.pipeline(name="placeholders")
def placeholders() -> str:
    """Placeholders such as `dsl.PIPELINE_TASK_NAME_PLACEHOLDER`, and environment variables."""
    task = read_variable().set_env_variable("A_VARIABLE", "a value")
    return join(texts=[task.output, dsl.PIPELINE_TASK_NAME_PLACEHOLDER]).output


@dsl.pipeline(name="retried")
def retried(mark: str) -> str:
    """`set_retry`."""
    return succeed_later(mark=mark).set_retry(1).output


@dsl.pipeline(name="plain")
def plain(values: list = [1.0, 2.0, 4.5]) -> float:
    """Kfp's own `@dsl.component` with `packages_to_install`."""
    return mean(values=values).output


@dsl.pipeline(name="cleaned-up")
def cleaned_up(number: int = 3) -> None:
    """`dsl.ExitHandler` and `dsl.PipelineTaskFinalStatus`."""
    with dsl.ExitHandler(last_words()):
        echo(text=fail(number=number).output)


@dsl.pipeline(name="ignored")
def ignored(number: int = 3) -> None:
    """`ignore_upstream_failure`: the task runs; the run has failed nevertheless."""
    clean_up(text=fail(number=number).output).ignore_upstream_failure()


@dsl.pipeline(name="infinite")
def infinite() -> float:
    """NaN or infinity as an output: the step fails."""
    return not_a_number().output


@dsl.pipeline(name="failing-loop")
def failing_loop(numbers: list[int] = [1, 2, 3]) -> None:
    """A failing iteration is named; those that finished keep their outputs."""
    with dsl.ParallelFor(numbers, parallelism=1) as number:
        twice = double(number=number)
        with dsl.If(twice.output == 4):
            fail(number=number)


class Results(NamedTuple):
    branch: str
    loop_in_loop: list[str]
    loop_of_mappings: str
    loop_over_field: list[int]
    loop_of_files: str
    loop_over_nothing: list[int]
    optional: str
    artifact_types: str
    pythonic: str
    paths: str
    imported: str
    placeholders: str
    retried: str
    plain: float


@dsl.pipeline(name="features")
def features(file: str, mark: str) -> Results:
    """A pipeline as a step of a pipeline; independent steps run side by side."""
    tasks = [
        branch(),
        loop_in_loop(),
        loop_of_mappings(),
        loop_over_field(),
        loop_of_files(),
        loop_over_nothing(),
        optional(),
        artifact_types(),
        pythonic(),
        paths(),
        imported(file=file),
        placeholders(),
        retried(mark=mark),
        plain(),
    ]
    return Results(*(task.output for task in tasks))
