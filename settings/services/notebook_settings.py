"""Settings of notebooks: the servers of persons behind the door."""

from __future__ import annotations

from pydantic import Field, model_validator

from settings.types import Name, Section


class NotebookSizeSettings(Section):
    """Limits of a server."""

    cpu: int = Field(default=2, ge=1, le=256)
    """Number of CPUs."""
    memory_gb: int = Field(default=4, ge=1, le=4096)
    """Memory in GiB."""


class NotebookSettings(Section):
    """JupyterLab for each person behind the door, see [Notebook](notebook.md#in-a-cluster)."""

    sizes: dict[Name, NotebookSizeSettings] = Field(
        default_factory=lambda: {"standard": NotebookSizeSettings()}, min_length=1
    )
    """Sizes of servers by name, from which a person chooses. Unset: `standard` with 2 CPUs and 4 GiB."""
    storage_gb: int = Field(default=10, ge=1, le=10_000)
    """Size in GiB of the volume of each person, for servers that start for the first time."""
    idle_minutes: int = Field(default=60, ge=1, le=100_000)
    """Minutes without a request and without output of a kernel, after which a server stops."""
    image: str | None = Field(
        default=None, pattern=r"^[a-z0-9-]+[.:][a-z0-9.:-]+/[\w./-]+(:[\w.-]+|@sha256:[0-9a-f]{64})$"
    )
    """Image of the servers, made from that of the platform. Unset: the image of the platform."""

    @model_validator(mode="after")
    def _check_image(self) -> NotebookSettings:
        if self.image and self.image.endswith(":latest"):
            raise ValueError("image: the tag latest names no version; set another tag, or a digest")
        return self
