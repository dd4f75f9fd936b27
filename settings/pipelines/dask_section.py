"""Setting `dask`: workers that share the preprocessing and the training of a pipeline."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

from settings.types import Section

LEAST_MEBIBYTES = 512


def _check_memory(memory: str) -> str:
    mebibytes = int(memory[:-2]) * (1024 if memory.endswith("Gi") else 1)
    if mebibytes < LEAST_MEBIBYTES:
        raise ValueError(f"{memory} is too little for a worker and its libraries; set at least {LEAST_MEBIBYTES}Mi")
    return memory


class DaskSection(Section):
    """The workers of Dask of one pipeline."""

    workers: int = Field(ge=1, le=50)
    """Number of workers: processes of this computer, or pods of `platform:pipelines: job`. Each uses one core."""
    memory: Annotated[str, StringConstraints(pattern=r"^[1-9]\d*(Mi|Gi)$"), AfterValidator(_check_memory)] = "1Gi"
    """Memory limit of each worker, such as `1Gi`. A worker writes to disk what exceeds it."""
