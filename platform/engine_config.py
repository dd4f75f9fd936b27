"""Configuration of each pipeline engine: the platform passes it to the workloads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import Field, TypeAdapter

Text = TypeVar("Text")
"""`pulumi.Input[str]` in the Pulumi program, `str` in a resource provider."""


@dataclass(frozen=True)
class EmbeddedEngineConfig:
    """Engine on this computer; `directory` stores packages, runs and logs."""

    directory: str
    kind: Literal["embedded"] = "embedded"


@dataclass(frozen=True)
class JobEngineConfig(Generic[Text]):
    """Engine that runs each pipeline in one Kubernetes Job.

    Args:
        namespace: the namespace of the Jobs.
        image: the image with the steps' code and libraries.
        directory: the folder of this computer that stores logs.
    """

    kubeconfig: Text
    namespace: str
    image: Text
    directory: str
    kind: Literal["job"] = "job"


@dataclass(frozen=True)
class KubeflowEngineConfig(Generic[Text]):
    """Engine that runs pipelines in Kubeflow Pipelines.

    Args:
        namespace: the namespace of Kubeflow Pipelines.
        api_selector, api_port: label selector and container port of its API server.
        metadata_selector, metadata_port: label selector and container port of its metadata service.
        experiment: the experiment of all runs.
        keep_runs: keep the runs of a deleted pipeline version.
        database: the database with versions and schedules; both are created again in another database.
        directory: the folder of this computer that stores logs.
    """

    kubeconfig: Text
    namespace: str
    api_selector: str
    api_port: int
    metadata_selector: str
    metadata_port: int
    experiment: str
    keep_runs: bool
    directory: str
    database: str = ""
    kind: Literal["kubeflow"] = "kubeflow"


EngineConfig = EmbeddedEngineConfig | JobEngineConfig[Text] | KubeflowEngineConfig[Text]

_PARSER: TypeAdapter[EngineConfig[str]] = TypeAdapter(
    Annotated[EmbeddedEngineConfig | JobEngineConfig[str] | KubeflowEngineConfig[str], Field(discriminator="kind")]
)


def engine_inputs(config: EngineConfig[Any]) -> dict[str, Any]:
    """Return the configuration as an input of a resource."""
    return dict(vars(config))


def parse_engine_config(inputs: Mapping[str, Any]) -> EngineConfig[str]:
    """Return the configuration from the input of a resource.

    Raises:
        ValidationError: the input has an unknown kind or lacks a field.
    """
    return _PARSER.validate_python(inputs)
