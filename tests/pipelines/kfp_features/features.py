"""Pipelines with one feature of kfp each. kfp needs annotations as objects, so this file has no future import."""

from typing import Dict, List, NamedTuple, Optional

from kfp import dsl

from tests.pipelines.kfp_features.feature_components import (
    clean_up,
    describe,
    double,
    echo,
    fail,
    join,
    last_words,
    list_stages,
    make_pythonic,
    many_texts,
    mean,
    not_a_number,
    read,
    read_all,
    read_paths,
    read_types,
    read_variable,
    succeed_later,
    write,
    write_paths,
    write_types,
)


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
def loop_in_loop(outer: List[str] = ["a", "b"]) -> List[str]:
    """`dsl.ParallelFor` in `dsl.ParallelFor`, and `dsl.Collected` of both: a nested list."""
    with dsl.ParallelFor(outer, parallelism=1) as one:
        with dsl.ParallelFor(["x", "y"]) as two:
            pair = echo(text=f"{one}{two}")
    return dsl.Collected(pair.output)


@dsl.pipeline(name="loop-of-mappings")
def loop_of_mappings(stages: list = [{"name": "test", "on": "no"}, {"name": "prod", "on": "yes"}]) -> str:
    """A loop over mappings, with a condition on the item, and a field called `name`."""
    with dsl.ParallelFor(stages) as stage:
        with dsl.If(stage.on == "yes"):
            echo(text=stage.name)
            echo(text=f"deploy {stage.name}")
    return echo(text="done").output


@dsl.pipeline(name="loop-of-outputs")
def loop_of_outputs(first: list = ["test", "prod"]) -> List[str]:
    """A loop over mappings that a step returns, with a field called `name`, in a loop over a parameter."""
    with dsl.ParallelFor(first, parallelism=1) as one:
        stages = list_stages(names=[one, "b"])
        with dsl.ParallelFor(stages.output) as stage:
            deployed = echo(text=f"{stage.name} {stage.next}")
            with dsl.If(deployed.output == "b b2"):
                echo(text=stage.name)
    return dsl.Collected(deployed.output)


@dsl.pipeline(name="loop-over-field")
def loop_over_field(tables: list = [{"title": "t", "sizes": [1, 2]}, {"title": "u", "sizes": [3]}]) -> List[int]:
    """A loop over a field of another loop's item, a list of numbers, with formatted texts of both items."""
    with dsl.ParallelFor(tables) as table:
        with dsl.ParallelFor(table.sizes) as size:
            twice = double(number=size)
            with dsl.If(twice.output > 2):
                echo(text=f"{table.title} {size}")
    return dsl.Collected(twice.output)


@dsl.pipeline(name="loop-of-files")
def loop_of_files(numbers: List[int] = [3, 1, 2]) -> str:
    """`dsl.Collected` of artifacts and `Input[List[Dataset]]`."""
    with dsl.ParallelFor(numbers, parallelism=2) as number:
        written = write(number=number)
    return read_all(files=dsl.Collected(written.outputs["file"])).output


@dsl.pipeline(name="loop-over-nothing")
def loop_over_nothing(numbers: List[int] = []) -> List[int]:
    """A loop over an empty list."""
    with dsl.ParallelFor(numbers) as number:
        twice = double(number=number)
    return dsl.Collected(twice.output)


@dsl.pipeline(name="optional")
def optional(note: Optional[str] = None, sizes: List[int] = [8, 16], options: Dict[str, float] = {"lr": 0.1}) -> str:
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
    """kfp's own `@dsl.component` with `packages_to_install`."""
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


@dsl.pipeline(name="long-parameter")
def long_parameter() -> str:
    """A parameter of more than 128 KiB: the step that reads it fails."""
    return join(texts=many_texts().output).output


@dsl.pipeline(name="failing-loop")
def failing_loop(numbers: List[int] = [1, 2, 3]) -> None:
    """A failing iteration is named; those that finished keep their outputs."""
    with dsl.ParallelFor(numbers, parallelism=1) as number:
        twice = double(number=number)
        with dsl.If(twice.output == 4):
            fail(number=number)


class Results(NamedTuple):
    branch: str
    loop_in_loop: List[str]
    loop_of_mappings: str
    loop_of_outputs: List[str]
    loop_over_field: List[int]
    loop_of_files: str
    loop_over_nothing: List[int]
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
        loop_of_outputs(),
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
