"""Pipelines with a feature of kfp that an engine refuses. kfp needs annotations as objects: no future import."""

from typing import List

from kfp import dsl

from tests.pipelines.kfp_features.feature_components import echo, list_stages, read


@dsl.container_component
def container(text: str) -> dsl.ContainerSpec:
    return dsl.ContainerSpec(image="alpine", command=["echo", text])


@dsl.component(base_image="python:3.11", target_image="registry.example/echo:1")
def containerized(text: str) -> str:
    return text


@dsl.component(base_image="tensorflow/tensorflow:2.15.0")
def other_image() -> str:
    return ""


@dsl.component(base_image="python:3.11")
def read_task(configuration: dsl.TaskConfig) -> str:
    return str(configuration)


@dsl.pipeline(name="containers")
def containers() -> None:
    """Container components."""
    container(text="")


@dsl.pipeline(name="target-image")
def target_image() -> None:
    """Containerized Python components, with `target_image`."""
    containerized(text="")


@dsl.pipeline(name="images")
def images() -> None:
    """A `base_image` that is not one of `python`."""
    other_image()


@dsl.pipeline(name="buckets")
def buckets() -> None:
    """`dsl.importer` with an address of `gs://`, `minio://` or `oci://`."""
    read(file=dsl.importer(artifact_uri="gs://bucket/table.csv", artifact_class=dsl.Dataset).output)


@dsl.pipeline(name="pod-settings")
def pod_settings() -> None:
    """`dsl.TaskConfig`."""
    read_task()


@dsl.pipeline(name="loop-over-files")
def loop_over_files(files: List[dsl.Dataset]) -> None:
    """A loop over artifacts."""
    with dsl.ParallelFor(files) as file:
        read(file=file)


@dsl.pipeline(name="artifact-input")
def artifact_input(file: dsl.Dataset) -> None:
    """An artifact as an input of a pipeline, other than of a pipeline in a pipeline."""
    read(file=file)


@dsl.pipeline(name="loops-of-one-name")
def loops_of_one_name() -> None:
    """A field `name` of an item, in loops over outputs of one name of two steps."""
    outer, inner = list_stages(names=["a"]), list_stages(names=["b"])
    with dsl.ParallelFor(outer.output) as one:
        with dsl.ParallelFor(inner.output) as two:
            echo(text=f"{one.name} {two.name}")


@dsl.pipeline(name="loop-in-same-loop")
def loop_in_same_loop(texts: List[str] = ["a", "b"]) -> None:
    """A loop in a loop over the same list."""
    with dsl.ParallelFor(texts) as one:
        with dsl.ParallelFor(texts) as two:
            echo(text=f"{one}{two}")


@dsl.pipeline(name="quoted")
def quoted(text: str = "") -> None:
    """A condition with a text that contains a quote or a backslash."""
    with dsl.If(text == "it's"):
        echo(text=text)
