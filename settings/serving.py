"""Settings of the namespace `serving`: the model server."""

from __future__ import annotations

from pydantic import Field, model_validator

from settings.types import Port, Section, ServiceType


class CanarySettings(Section):
    """Another version beside the champion, behind the same address; pods share the requests evenly."""

    version: int = Field(ge=1)
    replicas: int = Field(default=1, ge=1, le=100)


class ServingSettings(Section):
    """The model server; the ports of further served models are set at their pipelines."""

    port: Port = 5005
    follow: bool = False
    """Swap to a new champion as soon as it has the alias, instead of at the next `pulumi up`."""
    workers: int = Field(default=2, ge=1, le=64)
    max_body_bytes: int = Field(default=1 << 20, ge=1024, le=1 << 30)
    max_rows: int = Field(default=10_000, ge=1, le=10_000_000)
    service: ServiceType = "ClusterIP"
    """In a cluster: how it is reached from outside."""
    replicas: int = Field(default=2, ge=1, le=100)
    """In a cluster, and no less under any load."""
    maximum_replicas: int = Field(default=4, ge=1, le=100)
    """In a cluster, under the highest load."""
    canary: CanarySettings | None = None
    """In a cluster, of the model at `serving:port`."""

    @model_validator(mode="after")
    def _replicas_are_a_range(self) -> ServingSettings:
        if self.maximum_replicas < self.replicas:
            raise ValueError(f"maximum_replicas: {self.maximum_replicas} is less than replicas: {self.replicas}")
        return self
